// The connection between a browser and the server, which the walk can cut in the ways in which real connections are
// cut.
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** `open` lets everything through, `closed` nothing. `unplugged` refuses websockets only, so that pages still load. `deaf` passes on what a websocket
 *  says to the server and drops every answer: then nobody can know what has taken effect. */
const MODES = ["open", "closed", "unplugged", "deaf"];

export class Gate {
  #mode = "open";
  #wires = new Set();

  static async before(port) {
    const gate = new Gate();
    gate.server = createServer({ noDelay: true }, (wire) => gate.#take(wire, port));
    gate.server.listen(0, "127.0.0.1");
    await once(gate.server, "listening");
    gate.origin = `http://127.0.0.1:${gate.server.address().port}`;
    return gate;
  }

  #take(wire, port) {
    const onward = connect({ port, host: "127.0.0.1", noDelay: true });
    const pair = { isSocket: false, end: () => (wire.destroy(), onward.destroy()) };
    this.#wires.add(pair);
    for (const side of [wire, onward]) {
      side.on("error", pair.end);
      side.on("close", () => (pair.end(), this.#wires.delete(pair)));
    }
    wire.once("data", (first) => {
      pair.isSocket = first.includes("GET /v1/ws");
      if (this.#isCut(pair)) pair.end();
    });
    if (this.#mode === "closed") return pair.end();
    wire.on("data", (part) => onward.write(part));
    onward.on("data", (part) => (this.#mode === "deaf" && pair.isSocket ? undefined : wire.write(part)));
  }

  #isCut({ isSocket }) {
    return this.#mode === "closed" || (this.#mode === "unplugged" && isSocket);
  }

  /** Changes the wire; connections that it no longer carries are cut at once. */
  set(mode) {
    if (!MODES.includes(mode)) throw new Error(`no such wire: ${mode}`);
    const wasDeaf = this.#mode === "deaf";
    this.#mode = mode;
    // A websocket that has missed answers would notice only at its next heartbeat: so a deaf wire breaks at its end.
    for (const pair of this.#wires) if (this.#isCut(pair) || (wasDeaf && pair.isSocket)) pair.end();
  }

  close() {
    this.set("closed");
    this.server.close();
  }
}

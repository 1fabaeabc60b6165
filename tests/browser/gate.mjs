// What lies between a browser and the server: a wire that the walk can cut, in the ways in which wires are cut.
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** `open` lets everything through, `closed` nothing. `unplugged` refuses websockets only, so that pages still load. `deaf` takes what a websocket
 *  says to the server and swallows every answer: nobody can tell then what has taken effect. */
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

  /** Changes the wire; what it no longer carries is cut at once. */
  set(mode) {
    if (!MODES.includes(mode)) throw new Error(`no such wire: ${mode}`);
    const wasDeaf = this.#mode === "deaf";
    this.#mode = mode;
    // A websocket that has missed answers would only find out at its next heartbeat: the wire breaks when it has been deaf.
    for (const pair of this.#wires) if (this.#isCut(pair) || (wasDeaf && pair.isSocket)) pair.end();
  }

  close() {
    this.set("closed");
    this.server.close();
  }
}

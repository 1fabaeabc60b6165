// A provider that signs anything (oauth2-mock-server), in Apple's place. It serves its key set and counts the requests.
import { randomUUID } from "node:crypto";
import { OAuth2Issuer, OAuth2Service } from "oauth2-mock-server";
import { must } from "../jswalk/checks.mjs";
import { BACK } from "./openid.mjs";
import { listen } from "./listen.mjs";

export const APP = "org.example.soundoff";
export const OTHER_APP = "org.example.soundoff.web";

export class Mock {
  /** How often its keys were fetched. */
  fetches = 0;
  /** Keys that the package cannot hold: it has no shared secrets. They are published along with its own. */
  odd = [];
  /** An attacker's key set, for tokens that say to look there; and how often somebody did. */
  baitKeys = [];
  baited = 0;
  /** What it says of itself may be changed; and how often it was asked. */
  told = (document) => document;
  discoveries = 0;
  #held = Promise.resolve();

  static async open() {
    const mock = new Mock();
    mock.http = await listen();
    mock.url = mock.http.url;
    mock.bait = `${mock.url}/bait`;
    await mock.rotate();
    mock.http.on(async (request, response) => {
      if (request.url === "/jwks") {
        mock.fetches += 1;
        await mock.#held;
        if (mock.odd.length > 0) {
          response.setHeader("content-type", "application/json");
          return response.end(JSON.stringify({ keys: [...mock.issuer.keys.toJSON(), ...mock.odd] }));
        }
      }
      if (request.url === "/.well-known/openid-configuration") {
        mock.discoveries += 1;
        response.setHeader("content-type", "application/json");
        const [jwks_uri, authorization_endpoint, token_endpoint] = ["jwks", "authorize", "token"].map((at) => `${mock.url}/${at}`);
        return response.end(JSON.stringify(mock.told({ issuer: mock.url, jwks_uri, authorization_endpoint, token_endpoint })));
      }
      if (request.url === "/bait") {
        mock.baited += 1;
        return response.end(JSON.stringify({ keys: mock.baitKeys }));
      }
      return mock.service.requestHandler(request, response);
    });
    return mock;
  }

  close() {
    return this.http.close();
  }

  appleFlags() {
    return ["--apple-client-ids", `${APP},${OTHER_APP}`, "--apple-issuer", this.url, "--apple-jwks-url", `${this.url}/jwks`];
  }

  /** The flags that make a server take its id_tokens as those of a provider that the operator has named. */
  openidFlags(more = {}) {
    const mock = { name: "mock", issuer: this.url, client_ids: [APP, OTHER_APP], jwks_url: `${this.url}/jwks`, ...more };
    return ["--openid-providers", JSON.stringify([mock])];
  }

  /** Lets requests for its keys wait until the returned function is called. */
  hold() {
    let release;
    this.#held = new Promise((resolve) => { release = resolve; });
    return release;
  }

  /** From here on it signs with a new key, and no longer publishes the old ones. */
  async rotate() {
    // The store has no way to drop a key: another issuer, with its own store, has none but the new one.
    this.issuer = new OAuth2Issuer();
    this.issuer.url = this.url;
    this.key = await this.issuer.keys.generate("RS256", { kid: randomUUID() });
    this.service = new OAuth2Service(this.issuer);
  }

  /** An id_token of a code flow with a nonce; `change` may change it before it is signed. */
  async idToken({ nonce = randomUUID(), sub = randomUUID(), change } = {}) {
    const asked = new URLSearchParams({ response_type: "code", client_id: APP, redirect_uri: BACK, scope: "openid", ...(nonce && { nonce }) });
    const redirect = await fetch(`${this.url}/authorize?${asked}`, { redirect: "manual" });
    const code = new URL(redirect.headers.get("location")).searchParams.get("code");
    // The hook sees the flow's access token too, which has no audience.
    const hook = (token) => {
      if (token.payload.aud !== APP) return;
      token.payload.sub = sub;
      change?.(token);
    };
    this.service.on("beforeTokenSigning", hook);
    const body = new URLSearchParams({ grant_type: "authorization_code", client_id: APP, code });
    const answer = await (await fetch(`${this.url}/token`, { method: "POST", body })).json();
    this.service.off("beforeTokenSigning", hook);
    must(answer.id_token, answer);
    return answer.id_token;
  }
}

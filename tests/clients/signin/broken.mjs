// A provider that is broken in whichever way the code asks for.
import { bodyOf, listen } from "./listen.mjs";
import { BACK } from "./openid.mjs";

const HUGE = 4 * 1024 * 1024;
const json = (response, status, value) => {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(typeof value === "string" ? value : JSON.stringify(value));
};
const token = (value = "t") => (response) => json(response, 200, { access_token: value, token_type: "Bearer", expires_in: 60 });

/** How the token endpoint answers, by the code that it gets; the user endpoint decides the rest. */
const EXCHANGES = {
  garbage: (response) => json(response, 200, "}{"),
  empty: (response) => json(response, 200, ""),
  html: (response) => response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Sorry</title>"),
  "html-500": (response) => response.writeHead(500, { "content-type": "text/html" }).end("<h1>Oh no</h1>"),
  500: (response) => json(response, 500, { error: "server_error" }),
  429: (response) => json(response, 429, { title: "Too Many Requests" }),
  huge: (response) => json(response, 200, { access_token: "x".repeat(HUGE), token_type: "Bearer" }),
  silent: () => {},
  "half-said": (response) => {
    response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
    response.write('{"access_token":');
  },
  "hung-up": (response) => response.socket.destroy(),
  elsewhere: (response, broken) => response.writeHead(307, { location: `${broken.url}/trap` }).end(),
  "no-token": (response) => json(response, 200, { token_type: "Bearer" }),
  "split-token": token("t\r\nx-injected: 1"),
  invalid_client: (response) => json(response, 401, { error: "invalid_client" }),
  invalid_grant: (response) => json(response, 400, { error: "invalid_grant" }),
};

/** How the user endpoint answers, by the token that it gets. */
const USERS = {
  "user-500": (response) => json(response, 500, {}),
  "user-401": (response) => json(response, 401, {}),
  "user-garbage": (response) => json(response, 200, "sub=anna"),
  "user-nobody": (response) => json(response, 200, {}),
  "user-empty": (response) => json(response, 200, { sub: "" }),
  "user-number": (response) => json(response, 200, { sub: 42 }),
  "user-null": (response) => json(response, 200, { sub: null }),
  "user-long": (response) => json(response, 200, { sub: "s".repeat(300) }),
  "user-elsewhere": (response, broken) => response.writeHead(302, { location: `${broken.url}/trap` }).end(),
  "user-silent": () => {},
  "user-huge": (response) => json(response, 200, { sub: "anna", filling: "f".repeat(HUGE) }),
  good: (response) => json(response, 200, { sub: "anna" }),
};

export class Broken {
  /** How often somebody followed a redirect. */
  trapped = 0;
  /** id_tokens that it answers with, by what follows `id ` in the code. */
  idTokens = new Map();

  static async open() {
    const broken = new Broken();
    broken.http = await listen();
    broken.url = broken.http.url;
    broken.http.on(async (request, response) => {
      if (request.url === "/token") {
        const code = new URLSearchParams(await bodyOf(request)).get("code");
        if (code.startsWith("id ")) {
          return json(response, 200, { access_token: "t", token_type: "Bearer", id_token: broken.idTokens.get(code.slice(3)) });
        }
        return (EXCHANGES[code] ?? token(code))(response, broken);
      }
      if (request.url === "/user") return (USERS[request.headers.authorization?.slice("Bearer ".length)] ?? USERS["user-401"])(response, broken);
      broken.trapped += 1;
      return json(response, 200, { sub: "anna", access_token: "good", token_type: "Bearer" });
    });
    return broken;
  }

  close() {
    return this.http.close();
  }

  twitterFlags() {
    return [
      "--twitter-client-id", "soundoff-web", "--twitter-redirect-uris", BACK, "--twitter-token-url", `${this.url}/token`,
      "--twitter-user-url", `${this.url}/user`, "--twitter-user-pointer", "/sub",
    ];
  }

  /** Every way of its token endpoint. */
  static exchanges = Object.keys(EXCHANGES);

  /** Every way to be broken: its code. */
  static ways = [...Object.keys(EXCHANGES), ...Object.keys(USERS)].filter((way) => !["good", "invalid_grant"].includes(way));
}

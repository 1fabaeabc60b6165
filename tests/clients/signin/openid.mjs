// A certified OpenID provider (oidc-provider), and a user who logs in there: with a cookie jar in place of a browser.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";
import { equal, must } from "../jswalk/checks.mjs";
import { listen } from "./listen.mjs";

export const BACK = "http://127.0.0.1:9/back";
export const BACK_TOO = "http://127.0.0.1:9/back-too";
/** On the provider's list and not on the server's. */
export const BACK_ELSEWHERE = "http://127.0.0.1:9/elsewhere";

const s256 = (verifier) => createHash("sha256").update(verifier).digest("base64url");

export class OpenId {
  /** What our server is at the provider, an app whose user brings an id_token, and somebody else's app. */
  web = { client_id: "soundoff-web", client_secret: randomUUID() };
  app = { client_id: "org.example.soundoff" };
  stranger = { client_id: "stranger", client_secret: randomUUID() };

  /** Its access tokens, which only our server gets to see. */
  accessTokens = [];

  /** `more` are further places where it may send users back to. */
  static async open(more = []) {
    const openid = new OpenId();
    openid.http = await listen();
    openid.url = openid.http.url;
    const { privateKey } = await generateKeyPair("RS256", { extractable: true });
    const common = {
      redirect_uris: [BACK, BACK_TOO, BACK_ELSEWHERE, ...more],
      grant_types: ["authorization_code"],
      response_types: ["code"],
      application_type: "native",
    };
    const provider = new Provider(openid.url, {
      clients: [
        { ...openid.web, ...common, token_endpoint_auth_method: "client_secret_basic" },
        { ...openid.app, ...common, token_endpoint_auth_method: "none" },
        { ...openid.stranger, ...common, token_endpoint_auth_method: "client_secret_basic" },
      ],
      jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: randomUUID(), use: "sig", alg: "RS256" }] },
      cookies: { keys: [randomUUID()] },
      // So that a code without a challenge can be made, which the server must not take.
      pkce: { required: () => false },
      findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
      ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    });
    // An opaque token is its own id.
    provider.on("access_token.saved", ({ jti }) => openid.accessTokens.push(jti));
    openid.http.on(provider.callback());
    return openid;
  }

  close() {
    return this.http.close();
  }

  /** The flags that make a server take codes of this provider. */
  twitterFlags() {
    return [
      "--twitter-client-id", this.web.client_id, "--twitter-client-secret", this.web.client_secret,
      "--twitter-redirect-uris", `${BACK},${BACK_TOO}`, "--twitter-token-url", `${this.url}/token`,
      "--twitter-user-url", `${this.url}/me`, "--twitter-user-pointer", "/sub",
    ];
  }

  /** The flags that make a server take its id_tokens. */
  appleFlags() {
    return ["--apple-client-ids", this.app.client_id, "--apple-issuer", this.url, "--apple-jwks-url", `${this.url}/jwks`];
  }

  /** As a provider that the operator has named: all but its issuer is found by discovery. */
  provider(more = {}) {
    return {
      name: "certified", title: "Certified", issuer: this.url, client_ids: [this.web.client_id, this.app.client_id],
      client_secret: this.web.client_secret, redirect_uris: [BACK, BACK_TOO], ...more,
    };
  }

  /** Logs in and consents: the code, and what goes along with it to the server. */
  async code(login, { client = this.web, back = BACK, nonce, pkce = true } = {}) {
    const verifier = randomBytes(32).toString("base64url");
    const state = randomUUID();
    const asked = new URLSearchParams({
      client_id: client.client_id, response_type: "code", scope: "openid", redirect_uri: back, state,
      ...(nonce && { nonce }),
      ...(pkce && { code_challenge: s256(verifier), code_challenge_method: "S256" }),
    });
    const landed = await new Browser(this.url).logIn(`/auth?${asked}`, login, back);
    equal(landed.searchParams.get("state"), state);
    const code = landed.searchParams.get("code");
    must(code, landed.href);
    return { code, code_verifier: verifier, redirect_uri: back };
  }

  /** An id_token by the whole flow of the app, its nonce in it. */
  async idToken(login, nonce) {
    const { code, code_verifier, redirect_uri } = await this.code(login, { client: this.app, nonce });
    const body = new URLSearchParams({ grant_type: "authorization_code", ...this.app, code, code_verifier, redirect_uri });
    const answer = await (await fetch(`${this.url}/token`, { method: "POST", body })).json();
    must(answer.id_token, answer);
    return answer.id_token;
  }
}

class Browser {
  cookies = new Map();

  constructor(origin) {
    this.origin = origin;
  }

  async go(url, form) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(url, {
      redirect: "manual",
      headers: { ...(cookie && { cookie }) },
      ...(form && { method: "POST", body: new URLSearchParams(form) }),
    });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value === "") this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return answer;
  }

  /** Follows redirects and fills in the forms met on the way, until the provider sends us back. */
  async logIn(path, login, back) {
    let url = new URL(path, this.origin);
    let answer = await this.go(url);
    for (let step = 0; step < 12; step++) {
      const location = answer.headers.get("location");
      if (location) {
        url = new URL(location, url);
        if (url.href.startsWith(back)) return url;
        answer = await this.go(url);
        continue;
      }
      const page = await answer.text();
      const prompt = /name="prompt" value="(\w+)"/.exec(page)?.[1];
      must(prompt, `${answer.status} at ${url.pathname}: ${page.replace(/<style[^]*?<\/style>/g, "").slice(0, 300)}`);
      answer = await this.go(url, prompt === "login" ? { prompt, login, password: randomUUID() } : { prompt });
    }
    throw new Error("the provider does not send the user back");
  }
}

import type { Events, Messages, Pushes } from "./messages.js";

export type * from "./messages.js";

/** Where strings are kept. Its functions may return promises. */
export interface Store {
  get(key: string): string | null | undefined | Promise<string | null | undefined>;
  set(key: string, value: string): unknown;
  remove(key: string): unknown;
}

/** Like `navigator.locks`. */
export interface Locks {
  request<Result>(name: string, held: () => Promise<Result>): Promise<Result>;
  request<Result>(
    name: string,
    options: { ifAvailable: boolean },
    held: (lock: unknown) => Promise<Result>,
  ): Promise<Result>;
}

/** A store that ends with the page or process. */
export function memoryStore(): Store;

/** The protocol's codes, those of the HTTP calls, and the client's own. */
export type ErrorCode =
  | "bad_frame"
  | "bad_message"
  | "unknown_type"
  | "too_large"
  | "rate_limited"
  | "overloaded"
  | "unauthorized"
  | "forbidden"
  | "not_found"
  | "conflict"
  | "internal"
  /** HTTP: the account is new and needs a handle. */
  | "handle_required"
  | "proof_required"
  /** HTTP: the server does not offer this way to sign in. */
  | "not_configured"
  /** HTTP: the operators have closed the service, or let people in little by little. The message says why. */
  | "closed"
  /** The server cannot be reached, or nobody would see `typing`. */
  | "offline"
  /** The server does not let pages of this origin in: it was started without `--origins` that name it. */
  | "cors"
  /** The client is not running. Stored calls are sent when it runs again. */
  | "stopped"
  /** The server has refused the connection, and will do so again. */
  | "refused"
  /** Sent days ago and never answered: nobody can know whether it took effect. */
  | "expired"
  /** The token is another user's than the client's. */
  | "user_changed"
  /** Nobody is signed in. */
  | "signed_out"
  /** The device gave no passkey: it has none, its user would not, or the page may not ask. */
  | "no_passkey";

export class SoundOffError extends Error {
  constructor(
    code: ErrorCode,
    message: string,
    options?: { retry?: boolean; retryAfterMs?: number; duplicate?: boolean },
  );
  readonly name: "SoundOffError";
  readonly code: ErrorCode;
  /** Whether the same call may succeed later. */
  readonly retry: boolean;
  /** When the server wants to be asked again, in milliseconds. */
  readonly retryAfterMs?: number;
  /** This `id` had its outcome before. */
  readonly duplicate: boolean;
}

export type State = "stopped" | "connecting" | "online" | "waiting" | "refused";

export interface StateChange {
  state: State;
  /** With `waiting`: how long, in milliseconds. */
  retryInMs?: number;
  /**
   * With `waiting` or `refused`: the close code or the error's code, and its text. `text` is there when the service is
   * closed to this user for now: why, in the operators' words, for people to read. `retryInMs` then says when they will
   * be let in; up to a minute may also mean that the server does not know, and is asked again then.
   */
  reason?: { code: number | ErrorCode; message: string; text?: string };
}

/** A durable event, from the user's inbox. */
export type Push = {
  [Type in keyof Pushes]: { seq: number; type: Type; mid: string; body: Pushes[Type] };
}[keyof Pushes];

/** A live event. */
export type LiveEvent = { [Type in keyof Events]: { type: Type; body: Events[Type] } }[keyof Events];

/** The outcome of a call that was kept in the store until its answer. */
export interface Outcome {
  id: string;
  type: keyof Messages;
  /** What was sent. */
  sent: unknown;
  /** An earlier page made the call. */
  resumed: boolean;
  /** It had taken effect before. */
  duplicate: boolean;
  body?: unknown;
  error?: SoundOffError;
}

export interface Pending {
  id: string;
  type: keyof Messages;
  body: unknown;
  /** When it was called, in milliseconds since 1970. */
  since: number;
}

export interface Timings {
  /** From opening a socket to its welcome. */
  connectMs: number;
  /** After this a message without `accepted` is sent again. */
  acceptMs: number;
  /** After this a message without its reply is sent again. */
  replyMs: number;
  /** How long a socket has to show that it is alive when the page wakes up. */
  probeMs: number;
  /** The first and the longest wait between two tries. */
  backoffMs: readonly [low: number, high: number];
  /** After this long online, the next backoff starts from the beginning. */
  steadyMs: number;
  /** Handled pushes are acked together after this. */
  ackMs: number;
}

export interface SoundOffOptions {
  /** The server's origin, or the whole address of its websocket. Default: where the page comes from. */
  url?: string | URL;
  /** An access token. With `refused` a new one: the last was refused or is about to expire. */
  token: (asked: { refused: boolean }) => string | Promise<string>;
  /**
   * Names the app and its version, such as `web-1.0`: letters, digits, `-` and `.`, at most 64. Operators may let some
   * apps in before others after maintenance.
   */
  app?: string;
  /** The user, if known before the token: then calls made offline are there at once after a reload. */
  user?: string;
  /**
   * Names this device, at most 64 characters. The server keeps one socket for each name: a client that another one with
   * the same name replaces again and again goes on under a name of its own. Default: a random name, kept in the store.
   */
  device?: string;
  /** Default: localStorage with `navigator.locks`; memory where either is missing. */
  store?: Store;
  /** The locks of several pages or workers that share `store`. */
  locks?: Locks;
  /** Default: `globalThis.WebSocket`. Node 20 has none: pass that of the package `ws`. */
  WebSocket?: new (url: string, protocols: string[]) => object;
  timings?: Partial<Timings>;
  /** With a new store: how many earlier pushes come, as far as the server still has them. Default: none. */
  history?: number;
}

export interface CallOptions {
  /** Same user and same `id`: one effect. Default: random. */
  id?: string;
  /** Ends the call. If it was sent it may take effect nevertheless. */
  signal?: AbortSignal;
  /** `false`: does not wait for earlier calls in the same lane. */
  ordered?: boolean;
}

/** A body may be left out when none of its fields is required. */
type Body<Type extends keyof Messages> = {} extends Messages[Type]["body"]
  ? [body?: Messages[Type]["body"]]
  : [body: Messages[Type]["body"]];

type Off = () => void;
type Listener<Value> = (value: Value) => unknown;

export class SoundOff {
  constructor(options: SoundOffOptions);
  readonly state: State;
  /** The user of the connection, once it is known. */
  readonly user: string | null;
  /** The calls that are kept until they are answered, in their order. */
  readonly pending: readonly Pending[];

  start(): void;
  stop(): Promise<void>;
  /** Stops, and removes what the store keeps of this user. */
  forget(): Promise<void>;

  /** Resolves to the reply's body; rejects with a SoundOffError, or with the signal's reason. */
  call<Type extends keyof Messages>(
    type: Type,
    ...rest: [...Body<Type>, options?: CallOptions]
  ): Promise<Messages[Type]["reply"]>;
  /** The outcome of one of `pending` that an earlier page has called. */
  resumed(id: string): Promise<unknown>;

  /**
   * Each push once and in order. When all listeners are done, the server forgets the push and the next one comes; a
   * listener that rejects gets it again.
   */
  on(name: "push", listener: Listener<Push>): Off;
  on<Type extends keyof Pushes>(name: `push:${Type}`, listener: Listener<Pushes[Type]>): Off;
  on(name: "event", listener: Listener<LiveEvent>): Off;
  on<Type extends keyof Events>(name: `event:${Type}`, listener: Listener<Events[Type]>): Off;
  on(name: "state", listener: Listener<StateChange>): Off;
  /** Outcomes of all calls that are kept in the store, also of those that an earlier page made. */
  on(name: "reply", listener: Listener<Outcome>): Off;
  /** The list has changed. */
  on(name: "pending", listener: Listener<readonly Pending[]>): Off;
  /** These have expired from the inbox: fetch what you need. */
  on(name: "gap", listener: Listener<{ from: number; to: number }>): Off;
  /** A listener or the store has failed. Without a listener it goes to the console. */
  on(name: "error", listener: Listener<unknown>): Off;
}

export interface User {
  handle: string;
}

export interface Ways {
  email?: object;
  phone?: object;
  apple?: { client_id?: string; authorize_url?: string };
  twitter?: { client_id: string; authorize_url: string; redirect_uris: string[] };
  /** The domain that passkeys belong to: pages there, and below it, can ask for them. */
  passkey?: { domain: string };
  /** The OpenID providers that the operator has named; those that send users back to pages say where. */
  openid?: OpenIdWay[];
  /** Codes are in `/dev/outbox`. */
  outbox?: boolean;
}

export interface OpenIdWay {
  name: string;
  title: string;
  issuer?: string;
  client_id?: string;
  authorize_url?: string;
  scope?: string;
  redirect_uris?: string[];
}

export interface Started {
  request: string;
  expires_in: number;
  to?: string;
}

export interface SignedIn {
  user: User;
  created: boolean;
  /** The way to sign in that was added. */
  linked?: string;
  /** The account's role, which this session has once `passkey({ link: true })` was called; `user` until then. */
  passkey_for?: string;
}

interface ProofOptions {
  /** Adds this way to sign in to the current account. */
  link?: boolean;
}

export interface SessionInfo {
  id: string;
  current: boolean;
  /** The kind of identity that began it; null for one that does not say. */
  way: string | null;
  /** The program that began it, such as `Firefox on Linux`. */
  client: string | null;
  begun_at: string;
  used_at: string;
  /** `null`: it lasts until it is ended. */
  ends_at: string | null;
}

export interface Identity {
  id: string;
  kind: string;
  /** The address, masked; a passkey's name. */
  value: string;
  linked_at: string;
  /** When a passkey was last used. */
  used_at?: string;
}

export interface Uploaded {
  id: string;
  url: string;
  content_type: string;
  bytes: number;
}

export interface UploadOptions {
  /** For more than 16 MiB: `(body) => client.call("media.begin", body)`. */
  begin?: (body: { bytes: number }) => Promise<Messages["media.begin"]["reply"]>;
  /** Which part has been sent, from 0 to 1. Only where there is XMLHttpRequest. */
  onProgress?: (share: number) => void;
  signal?: AbortSignal;
}

export class Session {
  /** `app` is that of `SoundOffOptions`. */
  constructor(options?: { url?: string | URL; app?: string; store?: Store; locks?: Locks });
  /** Resolves when an asynchronous store has been read. */
  readonly ready: Promise<void>;
  /** The user who is signed in. */
  readonly user: User | null;

  ways(): Promise<Ways>;
  /** `to` is the address as the server reads it: where the code goes. */
  startEmail(email: string): Promise<Started>;
  startPhone(phone: string): Promise<Started>;
  verifyEmail(
    proof: { email: string; code: string | number; request: string; handle?: string },
    options?: ProofOptions,
  ): Promise<SignedIn>;
  verifyPhone(
    proof: { phone: string; code: string | number; request: string; handle?: string },
    options?: ProofOptions,
  ): Promise<SignedIn>;
  apple(proof: { id_token: string; nonce: string; handle?: string }, options?: ProofOptions): Promise<SignedIn>;
  twitter(
    proof: { code: string; code_verifier: string; redirect_uri: string; handle?: string },
    options?: ProofOptions,
  ): Promise<SignedIn>;
  /** With an OpenID provider of `ways()`: a code that the server exchanges, or a token that the app has got. */
  openid(
    name: string,
    proof:
      | { code: string; code_verifier: string; redirect_uri: string; nonce: string; handle?: string }
      | { id_token: string; nonce: string; handle?: string },
    options?: ProofOptions,
  ): Promise<SignedIn>;
  /**
   * Makes the account of a user who has a token of your own server, or finds it. From then on your tokens open
   * everything: give them to `SoundOff` as `token`. Nothing is kept here. With `link` the token's user becomes another
   * way into the current account.
   */
  introduce(token: string, options?: { handle?: string } & ProofOptions): Promise<SignedIn>;

  /**
   * Signs in by a passkey that the device has for the server; it says whose it is. With `link` it is a fresh proof of the
   * user who is signed in, and their next token has their role. `mediation` and `signal` are for
   * `navigator.credentials.get`. Only in browsers that have `PublicKeyCredential.parseRequestOptionsFromJSON`.
   */
  passkey(options?: ProofOptions & { mediation?: "conditional" | "optional"; signal?: AbortSignal }): Promise<SignedIn>;
  /** Makes a passkey on this device and adds it to the account; wants a fresh proof. `name` has up to 50 characters. */
  addPasskey(name?: string): Promise<SignedIn>;

  /**
   * An access token. With `fresh` a new one. A `SoundOff` whose `token` this is waits for as long as a rejection's
   * `retryAfterMs` says, and asks again.
   */
  token(options?: { fresh?: boolean }): Promise<string>;
  signOut(): Promise<void>;
  /** The account's ways to sign in. */
  identities(): Promise<{ items: Identity[] }>;
  /** Wants a fresh proof (`proof_required`), as adding a way does: `startProof` and `prove`, or a new sign-in. */
  unlink(id: string): Promise<void>;
  /** Sends a code to one of the account's own addresses: `prove` takes it. */
  startProof(id: string): Promise<Started>;
  prove(proof: { id: string; request: string; code: string | number }): Promise<SignedIn>;
  /** Where the account is signed in. */
  sessions(): Promise<{ items: SessionInfo[] }>;
  /** Ending another session than the present one wants a fresh proof. `others` ends all but this one. */
  endSession(id: string): Promise<void>;
  /** Up to 16 MiB resolves to the whole medium; more, with `begin`, to its id. */
  uploadMedia(blob: Blob, options?: UploadOptions): Promise<Uploaded | { id: string }>;
  /** Stops listening to other pages. */
  close(): void;

  /** Signed in or out, here or on another page. */
  on(name: "change", listener: Listener<User | null>): Off;
  on(name: "error", listener: Listener<unknown>): Off;
}

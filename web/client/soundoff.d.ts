import type { Events, Messages, Pushes } from "./messages.js";

export type * from "./messages.js";

/** Where strings are kept. What it returns may be awaited. */
export interface Store {
  get(key: string): string | null | undefined | Promise<string | null | undefined>;
  set(key: string, value: string): unknown;
  remove(key: string): unknown;
}

/** As `navigator.locks`. */
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
  /** HTTP: the server has no such way to sign in. */
  | "not_configured"
  /** Nobody can be reached, or `typing` has nobody to reach. */
  | "offline"
  /** The client is not running. What was kept goes out when it runs again. */
  | "stopped"
  /** The server has refused the connection for good. */
  | "refused"
  /** Sent days ago and never answered: nobody knows any more whether it took effect. */
  | "expired"
  /** The token is another user's than the client's. */
  | "user_changed"
  /** Nobody is signed in. */
  | "signed_out";

export class SoundOffError extends Error {
  constructor(
    code: ErrorCode,
    message: string,
    options?: { retry?: boolean; retryAfterMs?: number; duplicate?: boolean },
  );
  readonly name: "SoundOffError";
  readonly code: ErrorCode;
  /** Whether the same may succeed later. */
  readonly retry: boolean;
  readonly retryAfterMs?: number;
  /** This `id` had its outcome before. */
  readonly duplicate: boolean;
}

export type State = "stopped" | "connecting" | "online" | "waiting" | "refused";

export interface StateChange {
  state: State;
  /** When `waiting`: how long. */
  retryInMs?: number;
  /** When `waiting` or `refused`: the close code or the error's code, and its text. */
  reason?: { code: number | ErrorCode; message: string };
}

/** A durable event, from the user's inbox. */
export type Push = {
  [Type in keyof Pushes]: { seq: number; type: Type; mid: string; body: Pushes[Type] };
}[keyof Pushes];

/** A live event. */
export type LiveEvent = { [Type in keyof Events]: { type: Type; body: Events[Type] } }[keyof Events];

/** The outcome of what is kept in the store until it is answered. */
export interface Outcome {
  id: string;
  type: keyof Messages;
  /** What was sent. */
  sent: unknown;
  /** An earlier page has called it. */
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
  /** After this a message without `accepted` goes out again. */
  acceptMs: number;
  /** After this one without its reply does. */
  replyMs: number;
  /** How long a socket has to show that it lives when the page wakes up. */
  probeMs: number;
  /** The first and the longest wait between two tries. */
  backoffMs: readonly [low: number, high: number];
  /** Online for so long, and the next backoff begins anew. */
  steadyMs: number;
  /** Handled pushes are acked together after this. */
  ackMs: number;
}

export interface SoundOffOptions {
  /** The server's origin, or the whole address of its websocket. Default: where the page comes from. */
  url?: string | URL;
  /** An access token. With `refused` another than the last: that one was refused or is about to lapse. */
  token: (asked: { refused: boolean }) => string | Promise<string>;
  /** Whose client this is, if it is known before the token: what was called offline is there at once after a reload. */
  user?: string;
  /** Names this device. Default: a random name, kept in the store. */
  device?: string;
  /** Default: localStorage with `navigator.locks`; memory where either is missing. */
  store?: Store;
  /** If several pages or workers share `store`: what they keep out of each other's way by. */
  locks?: Locks;
  /** Default: `globalThis.WebSocket`. Node 20 has none: pass that of the package `ws`. */
  WebSocket?: new (url: string, protocol: string) => object;
  timings?: Partial<Timings>;
  /** Where the store is new: how many pushes from before come, as far as the server still has them. Default: none. */
  history?: number;
}

export interface CallOptions {
  /** Same user and same `id`: one effect. Default: random. */
  id?: string;
  /** Gives the call up. What was sent may take effect nevertheless. */
  signal?: AbortSignal;
  /** `false`: does not wait for what was called before it in the same lane. */
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
  /** Whose connection it is, once that is known. */
  readonly user: string | null;
  /** What is kept until it is answered, in the order of the calls. */
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
   * Each push once and in order. The next one comes, and the server forgets it, when all listeners are done; one that
   * rejects gets it again.
   */
  on(name: "push", listener: Listener<Push>): Off;
  on<Type extends keyof Pushes>(name: `push:${Type}`, listener: Listener<Pushes[Type]>): Off;
  on(name: "event", listener: Listener<LiveEvent>): Off;
  on<Type extends keyof Events>(name: `event:${Type}`, listener: Listener<Events[Type]>): Off;
  on(name: "state", listener: Listener<StateChange>): Off;
  /** Outcomes of all that is kept in the store, also of what an earlier page has called. */
  on(name: "reply", listener: Listener<Outcome>): Off;
  /** The list has changed. */
  on(name: "pending", listener: Listener<readonly Pending[]>): Off;
  /** The inbox has lost these to age: fetch anew what you need. */
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
  /** Codes lie in `/dev/outbox`. */
  outbox?: boolean;
}

export interface SignedIn {
  user: User;
  created: boolean;
  /** The way to sign in that was added. */
  linked?: string;
}

interface ProofOptions {
  /** Adds this way to sign in to the account that is signed in. */
  link?: boolean;
}

export interface Identity {
  id: string;
  kind: string;
  /** Masked. */
  value: string;
  linked_at: string;
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
  /** How much has been sent, from 0 to 1. Only where there is XMLHttpRequest. */
  onProgress?: (share: number) => void;
  signal?: AbortSignal;
}

export class Session {
  constructor(options?: { url?: string | URL; store?: Store; locks?: Locks });
  /** Resolves when an asynchronous store has been read. */
  readonly ready: Promise<void>;
  /** Who is signed in. */
  readonly user: User | null;

  ways(): Promise<Ways>;
  startEmail(email: string): Promise<{ request: string; expires_in: number }>;
  startPhone(phone: string): Promise<{ request: string; expires_in: number }>;
  verifyEmail(
    proof: { email: string; code: string; request?: string; handle?: string },
    options?: ProofOptions,
  ): Promise<SignedIn>;
  verifyPhone(
    proof: { phone: string; code: string; request?: string; handle?: string },
    options?: ProofOptions,
  ): Promise<SignedIn>;
  apple(proof: { id_token: string; nonce: string; handle?: string }, options?: ProofOptions): Promise<SignedIn>;
  twitter(
    proof: { code: string; code_verifier: string; redirect_uri: string; handle?: string },
    options?: ProofOptions,
  ): Promise<SignedIn>;

  /** An access token. `fresh`: another than the last one. */
  token(options?: { fresh?: boolean }): Promise<string>;
  signOut(): Promise<void>;
  identities(): Promise<{ items: Identity[] }>;
  unlink(id: string): Promise<void>;
  /** Up to 16 MiB resolves to the whole medium; more, with `begin`, to its id. */
  uploadMedia(blob: Blob, options?: UploadOptions): Promise<Uploaded | { id: string }>;
  /** Hears of other pages no longer. */
  close(): void;

  /** Signed in or out, here or on another page. */
  on(name: "change", listener: Listener<User | null>): Off;
  on(name: "error", listener: Listener<unknown>): Off;
}

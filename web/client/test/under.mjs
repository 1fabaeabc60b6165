// The client under test; `CLIENT` names another file in its place.
export const { Session, SoundOff, SoundOffError, memoryStore } = await import(process.env.CLIENT ?? "../soundoff.js");

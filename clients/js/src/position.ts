import { within } from "./within.js";
import type { Store } from "./types.js";

/** While so many events wait to be handled, no more are read. */
const WAITING_MAX = 1_000;
/** The position is stored at most this often. */
const SAVE_MS = 1_000;
/** How long the stored position may take. */
const LOAD_MS = 5_000;

interface Entry {
  id: string;
  /** What still handles it, or will. */
  open: number;
  /** Who still has to see it. */
  unseen: number;
}

/** Where a stream is: what was received, what handlers could have seen, and what they have finished. */
export class Position {
  /** Of the last event that came. */
  received: string;
  #finished: string;
  #entries: Entry[] = []; // from the first one that is not finished
  #store: Store | undefined;
  #stored: string;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #loading: Promise<void> | undefined;
  #saving: Promise<void> | undefined;
  #present: Entry | undefined; // that is being dispatched
  #room: { promise: Promise<void>; open: () => void } | undefined;

  constructor(id: string, store: Store | undefined) {
    this.received = this.#finished = this.#stored = id;
    this.#store = store;
  }

  /** Takes what was stored, once; an id that was given explicitly takes precedence. */
  load(): Promise<void> | undefined {
    return (this.#loading ??= this.#load());
  }

  async #load() {
    if (!this.#store || this.received) return;
    const id = await within(LOAD_MS, this.#store.load()).catch((error) => this.#complain(error));
    this.received = this.#finished = this.#stored = id ?? "";
  }

  /** Of the last event that everybody could have seen. */
  get seen(): string {
    let id = this.#finished;
    for (const entry of this.#entries) {
      if (entry.unseen) break;
      id = entry.id;
    }
    return id;
  }

  /** The event at this id is dispatched; what `hold` returns is to be called once a handler has finished. */
  move(id: string, dispatch: (hold: () => () => void) => void): void {
    this.received = id;
    const entry = { id, open: 1, unseen: 0 };
    this.#entries.push(entry);
    this.#present = entry;
    const finish = () => {
      entry.open--;
      this.#settle();
    };
    dispatch(() => (entry.open++, finish));
    finish();
  }

  /** The event that is being dispatched will be seen only later; returns what is to be called then. */
  hold(): () => void {
    const entry = this.#present!;
    entry.unseen++;
    return () => entry.unseen--;
  }

  #settle() {
    const count = this.#entries.findIndex(({ open }) => open);
    const finished = this.#entries.splice(0, count < 0 ? this.#entries.length : count);
    if (!finished.length) return;
    this.#finished = finished.at(-1)!.id;
    if (this.#entries.length < WAITING_MAX) {
      this.#room?.open();
      this.#room = undefined;
    }
    // The first one at once: a page that goes away before would begin anew, and lose what came meanwhile.
    if (this.#store) this.#timer ??= setTimeout(() => void this.save(), this.#stored ? SAVE_MS : 0);
  }

  /** Where too much waits: resolves when there is room again. */
  room(): Promise<void> | undefined {
    if (this.#entries.length < WAITING_MAX) return undefined;
    if (!this.#room) {
      let open = () => {};
      const promise = new Promise<void>((resolve) => (open = resolve));
      this.#room = { promise, open };
    }
    return this.#room.promise;
  }

  /** Stores what is finished: when what is being stored is, or `now`, since there is no later when a page goes away. */
  async save(now = false): Promise<void> {
    if (!now) await this.#saving;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const id = this.#finished;
    if (!this.#store || id === this.#stored) return this.#saving; // what another call has begun
    this.#stored = id;
    this.#saving = this.#store.save(id).then(() => {}, (error) => this.#complain(error));
    await this.#saving;
  }

  // The stream goes on without: a reload then begins at `from`, or repeats what came since the position that was stored last.
  #complain(error: unknown): undefined {
    if (this.#store) console.warn("tailrace: the position cannot be kept:", error);
    this.#store = undefined;
  }
}

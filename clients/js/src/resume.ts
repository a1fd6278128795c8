import type { Store } from "./types.js";

const TABLE = "positions";

const result = <Value>(request: IDBRequest<Value>): Promise<Value> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Keeps ids in IndexedDB, under a name. */
export function indexedDb(name: string): Store {
  let database: IDBDatabase | undefined;
  const open = async () => {
    const request = indexedDB.open("tailrace", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
    database = await result(request);
    database.onversionchange = () => database!.close(); // somebody deletes it
  };
  const opening = open();
  opening.catch(() => {}); // `load` says so
  const table = (mode: IDBTransactionMode) => database!.transaction(TABLE, mode).objectStore(TABLE);
  return {
    async load() {
      await opening;
      return result(table("readonly").get(name));
    },
    async save(id) {
      if (!database) await opening;
      const positions = table("readwrite");
      const saved = result(positions.put(id, name));
      positions.transaction.commit(); // at once, since the page may be going away
      await saved;
    },
  };
}

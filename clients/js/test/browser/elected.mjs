// As shared.mjs, where there is no SharedWorker: one of the tabs reads for all.

process.env.WITHOUT_SHARED_WORKER = "1";
await import("./shared.mjs");

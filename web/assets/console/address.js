/** The page's address: a link carries the whole state, but never the token. */

const words = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);

/** What an address asks for. */
export function read({ search, hash }) {
  const params = new URLSearchParams(search);
  for (const [name, value] of new URLSearchParams(hash.slice(1))) params.append(name, value);
  const all = (...names) => names.flatMap((name) => params.getAll(name));
  return {
    choice: {
      tenant: params.get("tenant") ?? "",
      topics: all("topics", "topic").flatMap(words),
      types: all("type", "types").flatMap(words),
      where: all("where").filter(Boolean),
      from: params.get("from") ?? "",
    },
    search: params.get("search") ?? "",
    columns: params.has("column") ? params.getAll("column") : null,
    isEmpty: !params.size,
    autostart: params.get("autostart") === "1",
  };
}

/** The query of an address; "" for the page as it comes. `columns`: null for the usual ones. */
export function query({ tenant, topics, types, where, from }, search, columns, isRunning) {
  const params = new URLSearchParams();
  if (tenant) params.set("tenant", tenant);
  if (topics.length) params.set("topics", topics.join(","));
  if (types.length) params.set("type", types.join(","));
  where.forEach((condition) => params.append("where", condition));
  if (from) params.set("from", from);
  if (search) params.set("search", search);
  columns?.forEach((column) => params.append("column", column));
  if (isRunning) params.set("autostart", "1");
  return params.size ? `?${params}` : "";
}

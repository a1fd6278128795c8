/** The addresses of a choice at the server. */

const path = (tenant, way) => (tenant ? `t/${encodeURIComponent(tenant.toWellFormed())}/${way}` : way);

/** An address of the chosen tenant: `events`, `ws`, `topics`. */
export const route = (tenant, way) => new URL(path(tenant, way), document.baseURI);

/** The whole address of the chosen stream, with further parameters. */
export function streamAddress({ tenant, topics, types, where, from }, further = {}, way = "events") {
  const address = route(tenant, way);
  topics.forEach((topic) => address.searchParams.append("topic", topic));
  types.forEach((type) => address.searchParams.append("type", type));
  where.forEach((condition) => address.searchParams.append("where", condition));
  if (from) address.searchParams.set("from", from);
  for (const [name, value] of Object.entries(further)) address.searchParams.set(name, value);
  return address;
}

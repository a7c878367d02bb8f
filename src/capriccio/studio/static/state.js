// The address holds what one sees: #/mix?rows=1,2&psi=0.7
export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return {table: path.split("/")[0] || "generate", rest: path.split("/").slice(1), query: new URLSearchParams(query)};
}

export function addressOf(table, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "") query.append(name, one);
  }
  const text = query.toString().replaceAll("%2C", ",");
  return `#/${table}${text ? `?${text}` : ""}`;
}

export function remember(changes) {
  const {table, rest, query} = place();
  const values = {};
  for (const name of query.keys()) values[name] = query.getAll(name);
  history.replaceState(null, "", addressOf([table, ...rest].join("/"), {...values, ...changes}));
}

export const number = (query, name, otherwise, low, high) => {
  const value = Number.parseFloat(query.get(name));
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
};

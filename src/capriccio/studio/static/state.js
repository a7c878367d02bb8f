// The address holds what one sees: #/mix?rows=1,2&psi=0.7
export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return {table: path.split("/")[0] || "generate", rest: path.split("/").slice(1), query: new URLSearchParams(query)};
}

export function remember(changes) {
  const {table, rest, query} = place();
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString().replaceAll("%2C", ",");
  history.replaceState(null, "", `#/${[table, ...rest].join("/")}${text ? `?${text}` : ""}`);
}

export const number = (query, name, otherwise, low, high) => {
  const value = Number.parseFloat(query.get(name));
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
};

export const seeds = (query, name) => (query.get(name) ?? "").split(",").filter(word => /^\d{1,10}$/.test(word))
  .map(Number).filter(seed => seed < 2 ** 32);

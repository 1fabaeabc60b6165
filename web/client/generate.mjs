// Writes messages.d.ts from docs/asyncapi.yaml:
//
//   node generate.mjs           writes it
//   node generate.mjs --check   fails when it is stale
import { readFile, writeFile } from "node:fs/promises";
import { parse } from "yaml";

const SOURCE = new URL("../../docs/asyncapi.yaml", import.meta.url);
const TARGET = new URL("messages.d.ts", import.meta.url);

const { components } = parse(await readFile(SOURCE, "utf8"));
const { messages, schemas } = components;
/** The schemas that are used, each written once, in the order of their names. */
const wanted = new Map();

function doc(schema, indent = "") {
  const bounds = ["minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"];
  const told = bounds
    .filter((name) => schema[name] !== undefined && schema[name] !== 0)
    .map((name) => `${name} ${schema[name]}`);
  const text = [schema.description, told.length ? `(${told.join(", ")})` : ""].filter(Boolean).join(" ");
  return text ? `${indent}/** ${text.replaceAll("*/", "* /")} */\n` : "";
}

function typeOf(schema, indent = "") {
  if (schema === true || Object.keys(schema).length === 0) return "unknown";
  if (schema.$ref) return named(schema.$ref.split("/").at(-1));
  if (schema.allOf?.length === 1) return typeOf(schema.allOf[0], indent);
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return either.map((one) => typeOf(one, indent)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type }, indent)).join(" | ");
  switch (schema.type) {
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    case "integer":
    case "number":
      return "number";
    case "array":
      return arrayOf(schema, indent);
    case "object":
      return objectOf(schema, indent);
    default:
      throw new Error(`no type for ${JSON.stringify(schema)}`);
  }
}

function arrayOf({ items }, indent) {
  const item = typeOf(items, indent);
  return item.includes(" ") ? `Array<${item}>` : `${item}[]`;
}

function objectOf({ properties = {}, required = [], additionalProperties }, indent) {
  const inner = `${indent}  `;
  const fields = Object.entries(properties).map(([name, schema]) => {
    const optional = required.includes(name) ? "" : "?";
    return `${doc(schema, inner)}${inner}${name}${optional}: ${typeOf(schema, inner)};\n`;
  });
  if (fields.length > 0) return `{\n${fields.join("")}${indent}}`;
  return additionalProperties ? `Record<string, ${typeOf(additionalProperties, indent)}>` : "Record<string, never>";
}

/** A page of a list: the document has a separate schema for each kind of item. */
function listOf({ properties = {} }) {
  const names = Object.keys(properties).sort().join();
  return names === "items,next" ? `List<${typeOf(properties.items.items)}>` : null;
}

/** A schema under its own name. Its text is made once, which may use more names. */
function named(name) {
  const list = listOf(schemas[name]);
  if (list) return list;
  if (!wanted.has(name)) {
    wanted.set(name, null);
    const schema = schemas[name];
    const text = typeOf(schema);
    const isObject = text.startsWith("{");
    wanted.set(name, `${doc(schema)}export ${isObject ? `interface ${name} ${text}` : `type ${name} = ${text};`}\n`);
  }
  return name;
}

const bodyOf = (message) => message.payload.properties.body;
const requests = Object.entries(messages).filter(([, { payload }]) => payload.properties?.op?.const === "send");
const told = (op) => Object.values(messages).filter(({ payload }) => payload.properties?.op?.const === op);

function calls() {
  const rows = requests.map(([type, message]) => {
    const body = typeOf(bodyOf(message));
    const reply = typeOf(bodyOf(messages[`${type}.reply`]));
    return `  /** ${message.summary} */\n  "${type}": { body: ${body}; reply: ${reply} };\n`;
  });
  return `/** What a client sends, and what it gets back. */\nexport interface Messages {\n${rows.join("")}}\n`;
}

function heard(name, description, op) {
  const rows = told(op).map(({ summary, payload: { properties } }) => {
    return `  /** ${summary} */\n  "${properties.type.const}": ${typeOf(properties.body)};\n`;
  });
  return `/** ${description} */\nexport interface ${name} {\n${rows.join("")}}\n`;
}

const list = `/** A page of a list, newest first. */
export interface List<Item> {
  items: Item[];
  /** Give this as \`before\` to get the page after; null at the end. */
  next: string | null;
}
`;
const head = [
  calls(),
  heard("Pushes", "What comes through the inbox, each once and in order.", "push"),
  heard("Events", "What comes live, or not at all.", "event"),
  list,
];
const bodies = [...wanted.keys()].sort().map((name) => wanted.get(name));
const origin = "// Generated from docs/asyncapi.yaml by generate.mjs; a test fails when this copy is stale.\n";
const text = [origin, ...head, ...bodies].join("\n");

if (!process.argv.includes("--check")) {
  await writeFile(TARGET, text);
} else if ((await readFile(TARGET, "utf8").catch(() => "")) !== text) {
  console.error("messages.d.ts is stale: run `npm run generate` in web/client");
  process.exitCode = 1;
}

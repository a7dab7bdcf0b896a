// The plain objects of proto-loader from proto3 JSON, and back: the two differ in the well-known types alone.
import { fromJson, toJson } from "@bufbuild/protobuf";
import { FieldMaskSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";

const WELL_KNOWN = {
  "google.protobuf.Timestamp": {
    to: (json) => {
      const { seconds, nanos } = fromJson(TimestampSchema, json);
      return { seconds: String(seconds), nanos };
    },
    from: ({ seconds = 0, nanos = 0 }) =>
      toJson(TimestampSchema, { $typeName: TimestampSchema.typeName, seconds: BigInt(seconds), nanos }),
  },
  "google.protobuf.FieldMask": {
    to: (json) => ({ paths: fromJson(FieldMaskSchema, json).paths }),
    from: ({ paths = [] }) => toJson(FieldMaskSchema, { $typeName: FieldMaskSchema.typeName, paths }),
  },
  "google.protobuf.Struct": { to: structTo, from: structFrom },
};

/** What proto-loader sends as the message that `json` says. */
export const messageTo = (described, json) => convert(described, json, "to");

/** What proto-loader has read, as proto3 JSON. */
export const messageFrom = (described, message) => convert(described, message, "from");

function convert(described, value, direction) {
  const wellKnown = WELL_KNOWN[described.typeName];
  if (wellKnown) return wellKnown[direction](value);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => {
    const field = described.fields.find((candidate) => candidate.jsonName === name);
    if (field === undefined) throw new Error(`${described.typeName} has no ${name}`);
    if (field.message === undefined) return [name, member];
    const one = (part) => convert(field.message, part, direction);
    return [name, field.fieldKind === "list" ? member.map(one) : one(member)];
  }));
}

function structTo(json) {
  return { fields: Object.fromEntries(Object.entries(json).map(([key, value]) => [key, valueTo(value)])) };
}

function valueTo(json) {
  if (json === null) return { nullValue: "NULL_VALUE" };
  if (Array.isArray(json)) return { listValue: { values: json.map(valueTo) } };
  if (typeof json === "object") return { structValue: structTo(json) };
  return { [`${typeof json}`.replace("boolean", "bool") + "Value"]: json };
}

function structFrom({ fields = {} }) {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, valueFrom(value)]));
}

function valueFrom(value) {
  const [[kind, member]] = Object.entries(value);
  if (kind === "nullValue") return null;
  if (kind === "listValue") return (member.values ?? []).map(valueFrom);
  return kind === "structValue" ? structFrom(member) : member;
}

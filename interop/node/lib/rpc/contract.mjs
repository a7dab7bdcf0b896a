// The contract as its descriptors say it, for clients that are made from them.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/** The folder with the text of the contract. */
export const folder = fileURLToPath(new URL("../../../../proto", import.meta.url));

/** The text of the contract, within the folder. */
export const text = "webhook/webhook.proto";

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(`${folder}/webhook.binpb`)));

/** The services that the contract has; those of `postrider.v1`, in the same descriptors, are not a part of it. */
export const services = [...registry].filter((described) => described.kind === "service" && described.typeName.startsWith("webhook."));

/** Every method as `Service/Method`. */
export const methods = services.flatMap((service) => service.methods.map((method) => `${service.name}/${method.name}`));

/** The service and the method that `Service/Method` names. */
export function find(name) {
  const [serviceName, methodName] = name.split("/");
  const service = services.find((candidate) => candidate.name === serviceName);
  const method = service?.methods.find((candidate) => candidate.name === methodName);
  if (method === undefined) throw new Error(`the contract has no ${name}`);
  return { service, method };
}

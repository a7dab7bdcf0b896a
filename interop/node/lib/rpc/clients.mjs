// Clients that nobody here wrote, each behind `call(method, message, key)`: messages are proto3 JSON, as the stories have them.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { fromJson, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { find, folder, services, text } from "./contract.mjs";
import { messageFrom, messageTo } from "./plain.mjs";

const BUF = fileURLToPath(new URL("../../node_modules/.bin/buf", import.meta.url));
const CALL_LIMIT_MS = 30_000;

/** Every client by its name: makes one for a server and a key, in whose place a call may show another one. */
export const clients = {
  "connect-node, Connect JSON": (url, key) =>
    connect((more) => createConnectTransport({ ...more, baseUrl: url, httpVersion: "1.1", useBinaryFormat: false }), key, "application/json"),
  "connect-node, Connect binary": (url, key) =>
    connect((more) => createConnectTransport({ ...more, baseUrl: url, httpVersion: "2", useBinaryFormat: true }), key, "application/proto"),
  "connect-node, gRPC-Web": (url, key) =>
    connect((more) => createGrpcWebTransport({ ...more, baseUrl: url, httpVersion: "1.1" }), key, "application/grpc-web+proto"),
  "grpc-js": grpcJs,
  "buf curl, gRPC by reflection": (url, key) => buf(url, key, ["--protocol", "grpc", "--http2-prior-knowledge", "--reflect"]),
};

/** An answer in another media type than the client was asked to speak fails. */
function connect(transportWith, key, mediaType) {
  const inspect = (next) => async (request) => {
    const answer = await next(request);
    const said = answer.header.get("content-type");
    if (said !== mediaType) throw new Error(`an answer in ${said} in place of ${mediaType}`);
    return answer;
  };
  const transport = transportWith({ interceptors: [inspect] });
  return {
    call: async (name, message, otherKey = key) => {
      const { service, method } = find(name);
      const client = createClient(service, transport);
      const headers = otherKey === "" ? {} : { "x-api-key": otherKey };
      try {
        const answer = await client[method.localName](fromJson(method.input, message), { headers, timeoutMs: CALL_LIMIT_MS });
        return { answer: toJson(method.output, answer) };
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        return { refused: { code: snake(Code[error.code]), message: error.rawMessage } };
      }
    },
    stop: () => {},
  };
}

/** With the text of the contract, read by proto-loader, and its own binary format. */
function grpcJs(url, key) {
  const read = loader.loadSync(text, { includeDirs: [folder], longs: String, enums: String, defaults: false, arrays: false });
  const { webhook } = grpc.loadPackageDefinition(read);
  const address = new URL(url).host;
  const made = new Map(services.map(({ name }) => [name, new webhook[name](address, grpc.credentials.createInsecure())]));
  return {
    call: (name, message, otherKey = key) => {
      const { service, method } = find(name);
      const metadata = new grpc.Metadata();
      if (otherKey !== "") metadata.set("x-api-key", otherKey);
      const client = made.get(service.name);
      return new Promise((resolve) => {
        client[method.name](messageTo(method.input, message), metadata, { deadline: Date.now() + CALL_LIMIT_MS }, (error, answer) => {
          if (error) resolve({ refused: { code: grpc.status[error.code].toLowerCase(), message: error.details } });
          else resolve({ answer: messageFrom(method.output, answer) });
        });
      });
    },
    stop: () => { for (const client of made.values()) client.close(); },
  };
}

/** A process for each call; without a copy of the contract, which the server tells it by reflection. */
function buf(url, key, flags) {
  return {
    call: (name, message, otherKey = key) => {
      const { service, method } = find(name);
      const header = otherKey === "" ? [] : ["--header", `x-api-key: ${otherKey}`];
      const settings = ["curl", ...flags, ...header, "--data", JSON.stringify(message), `${url}/${service.typeName}/${method.name}`];
      return new Promise((resolve, reject) => {
        execFile(BUF, settings, { timeout: CALL_LIMIT_MS }, (error, stdout, stderr) => {
          if (!error) return resolve({ answer: JSON.parse(stdout) });
          const refused = refusal(stderr);
          if (refused === undefined) return reject(new Error(`buf curl ${name}: ${error.message}\n${stdout}${stderr}`));
          return resolve({ refused });
        });
      });
    },
    stop: () => {},
  };
}

/** The code and the message of the error that `buf curl` writes as JSON; `undefined` where it failed in another way. */
function refusal(written) {
  try {
    const { code, message = "" } = JSON.parse(written);
    return { code, message };
  } catch {
    return undefined;
  }
}

/** `NotFound` as `not_found`. */
const snake = (name) => name.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();

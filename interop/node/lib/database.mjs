// A database that an application shares with Postrider, on the server that scripts/postgres starts.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { binary, cleanEnvironment } from "./postrider.mjs";

const MIGRATE_LIMIT_MS = 60_000;

/** A database of its own with the schema in it, and two roles; all gone with `drop()`. */
export async function shareDatabase() {
  const server = process.env.POSTRIDER_TEST_DATABASE_URL;
  if (!server) throw new Error("this test needs a PostgreSQL server of its own: scripts/interop starts one");
  const [name, password] = [`interop_${randomBytes(8).toString("hex")}`, randomBytes(16).toString("hex")];
  const publisher = `${name}_publisher`;
  const url = new URL(server);
  url.pathname = `/${name}`;
  const application = new URL(url);
  [application.username, application.password] = [name, password];
  const settings = { POSTRIDER_DATABASE_URL: url.href, POSTRIDER_SECRETS_KEY: `k1=${"ab".repeat(32)}` };
  const drop = () => asking(server, [
    // The roles' rights go with the database.
    `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`,
    `DROP ROLE IF EXISTS ${name}`,
    `DROP ROLE IF EXISTS ${publisher}`,
  ]);
  try {
    await asking(server, [`CREATE DATABASE ${name} TEMPLATE template0`]);
    await migrate(settings, publisher);
    await asking(server, [`CREATE ROLE ${name} LOGIN PASSWORD '${password}' IN ROLE ${publisher}`]);
    await asking(url.href, [
      "CREATE TABLE orders (id bigint PRIMARY KEY, total numeric NOT NULL)",
      `GRANT ALL ON orders TO ${name}`,
    ]);
  } catch (error) {
    await drop();
    throw error;
  }
  return { settings, applicationUrl: application.href, drop };
}

/** Runs statements one by one, each by itself. */
async function asking(connectionString, statements) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Makes the schema and the role. */
async function migrate(settings, publisher) {
  const cwd = await mkdtemp(path.join(tmpdir(), "postrider-interop-"));
  const env = { ...cleanEnvironment(), ...settings };
  try {
    await promisify(execFile)(binary, ["migrate", "--publisher-role", publisher], { cwd, env, timeout: MIGRATE_LIMIT_MS });
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}

// Two nodes over one PostgreSQL: the page is opened at one of them, and everything else is asked of the other.
import { randomBytes } from "node:crypto";
import { type Server, startServer } from "./server";
import { until } from "./until";

/** The database that `scripts/postgres run` makes; empty where there is none. */
export const DATABASE = process.env["POSTRIDER_TEST_DATABASE_URL"] ?? "";

const SECRETS_KEY = `k1=${"ab".repeat(32)}`;

/** Starts both in a schema of their own, and resolves when each knows of the other. */
export async function startCluster(): Promise<Server> {
  const schema = `e2e_${randomBytes(6).toString("hex")}`;
  const start = (name: string): Promise<Server> =>
    startServer({
      flags: ["--database-schema", schema, "--node-name", name],
      environment: { POSTRIDER_DATABASE_URL: DATABASE, POSTRIDER_SECRETS_KEY: SECRETS_KEY },
    });
  const page = await start("page");
  try {
    const load = await start("load");
    const alive = async (): Promise<number> => {
      const { nodes = [] } = await load.api.call("postrider.v1.AdminService/ListNodes");
      return (nodes as { endedAt?: string }[]).filter(({ endedAt }) => endedAt === undefined).length;
    };
    const stop = async (): Promise<void> => {
      await load.stop();
      await page.stop();
    };
    await until("both nodes alive", alive, (count) => count === 2);
    return { ...page, api: load.api, talk: () => `${page.talk()}\n${load.talk()}`, stop };
  } catch (error) {
    await page.stop();
    throw error;
  }
}

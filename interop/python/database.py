"""A database that an application shares with Postrider, on the server that scripts/postgres starts."""

import os
import pathlib
import secrets
import subprocess
import tempfile
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from postrider import binary


@dataclass(frozen=True)
class Shared:
    #: As Postrider has it.
    url: str
    #: As the application has it, whose role may publish.
    application_url: str

    def settings(self) -> dict[str, str]:
        """What a server wants in its environment."""
        return {"POSTRIDER_DATABASE_URL": self.url, "POSTRIDER_SECRETS_KEY": "k1=" + "ab" * 32}


@contextmanager
def shared_database():
    """A database of its own with the schema in it, and two roles; all gone in the end."""
    server = os.environ.get("POSTRIDER_TEST_DATABASE_URL")
    assert server, "this test needs a PostgreSQL server of its own: scripts/interop starts one"
    name, password = f"interop_{secrets.token_hex(8)}", secrets.token_hex(16)
    publisher = f"{name}_publisher"
    parts = urllib.parse.urlsplit(server)
    url = parts._replace(path=f"/{name}").geturl()
    application = parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}", path=f"/{name}").geturl()
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            migrate(Shared(url, application), publisher)
            role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}")
            admin.execute(role.format(sql.Identifier(name), sql.Literal(password), sql.Identifier(publisher)))
            with psycopg.connect(url) as owner:
                owner.execute("CREATE TABLE orders (id bigint PRIMARY KEY, total numeric NOT NULL)")
                owner.execute(sql.SQL("GRANT ALL ON orders TO {}").format(sql.Identifier(name)))
            yield Shared(url, application)
        finally:
            # The roles' rights go with the database.
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for role in (name, publisher):
                admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def migrate(shared: Shared, publisher: str):
    """Makes the schema and the role."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTRIDER_")} | shared.settings()
    with tempfile.TemporaryDirectory(prefix="postrider-interop-") as directory:
        command = [binary(), "migrate", "--publisher-role", publisher]
        done = subprocess.run(command, cwd=pathlib.Path(directory), env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

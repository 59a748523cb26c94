"""How servers of ours begin transactions on SQLite, beside how Prefect's own do: the reason for the one is the failure of the other."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import provide_database_interface
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from flows.local.server import unhurried_database


async def two_transactions(config: AioSqliteConfiguration) -> None:
    """One reads, another writes in between if it can, and the first one writes."""
    engine = await config.engine()
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE counted (number INTEGER)"))
    read, written = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with await config.session(engine) as session, config.begin_transaction(session):
            await session.execute(text("SELECT number FROM counted"))
            read.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(written.wait(), 0.2)
            await session.execute(text("INSERT INTO counted VALUES (1)"))

    async def second() -> None:
        await read.wait()
        async with await config.session(engine) as session, config.begin_transaction(session):
            await session.execute(text("INSERT INTO counted VALUES (2)"))
        written.set()

    try:
        await asyncio.gather(first(), second())
        async with engine.begin() as connection:
            assert sorted((await connection.execute(text("SELECT number FROM counted"))).scalars()) == [1, 2]
    finally:
        await engine.dispose()


def test_a_transaction_that_reads_first_can_write(tmp_path: Path) -> None:
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{tmp_path}/prefect.db"}), unhurried_database():
        config = provide_database_interface().database_config
        assert isinstance(config, AioSqliteConfiguration)
        asyncio.run(two_transactions(config))


def test_with_prefect_s_own_transactions_it_cannot(tmp_path: Path) -> None:
    """If this fails with a new version of Prefect, the change that docs/decisions/4-sqlite-transactions.md tells of can go."""
    config = AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/prefect.db")
    with pytest.raises(OperationalError, match="locked"):
        asyncio.run(two_transactions(config))

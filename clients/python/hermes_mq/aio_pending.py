"""What is being opened, for asyncio: awaited, or entered."""

from types import TracebackType
from typing import Any, Awaitable, Callable, Generator, Optional, Type, TypeVar

R = TypeVar("R", bound="Closable")


class Closable:
    async def close(self) -> None:
        raise NotImplementedError

    async def _leave(self, failed: bool) -> None:
        await self.close()


class Pending(Awaitable[R]):
    """What is being opened: ``await`` it, or enter it with ``async with``, which closes it at the end."""

    def __init__(self, opening: Callable[[], Awaitable[R]]) -> None:
        self._opening = opening
        self._opened: Optional[R] = None

    def __await__(self) -> Generator[Any, None, R]:
        return self._opening().__await__()

    async def __aenter__(self) -> R:
        self._opened = await self._opening()
        return self._opened

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._opened is not None:
            await self._opened._leave(error is not None)

"""POST /models/{name}/...: which version serves, by hand. Every route needs an admin key.

What is chosen here lasts as long as this process; SEQSERVE_VERSIONS says it for good and for every replica.
"""

from collections.abc import Callable

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from service.http.keys import Keys
from service.http.schemas import ChoiceAnswer
from service.registry import Registry
from service.settings import NEWEST, UNLOADED


class PinRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=999_999_999)


def control_routes(registry: Registry, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/models/{name}", tags=["admin"])

    async def change(request: Request, name: str, work: Callable[[], None]) -> ChoiceAnswer:
        """In a thread: to load a model takes longer than other requests may wait."""
        keys.check_admin(request.scope)
        await run_in_threadpool(work)
        model = registry.models.get(name)
        return ChoiceAnswer(name=name, wanted=registry.wanted(name), serving=None if model is None else model.manifest.version)

    @router.post("/pin", summary="This version serves, and no newer one takes its place")
    async def pin(request: Request, name: str, wanted: PinRequest) -> ChoiceAnswer:
        return await change(request, name, lambda: registry.choose(name, wanted.version))

    @router.post("/rollback", summary="The highest good version below the one that serves is pinned")
    async def rollback(request: Request, name: str) -> ChoiceAnswer:
        return await change(request, name, lambda: registry.roll_back(name))

    @router.post("/load", summary="The newest good version serves, now and from now on; ends a pin, and undoes unload")
    async def load(request: Request, name: str) -> ChoiceAnswer:
        return await change(request, name, lambda: registry.choose(name, NEWEST))

    @router.post("/unload", summary="No version serves, and its memory is given back")
    async def unload(request: Request, name: str) -> ChoiceAnswer:
        return await change(request, name, lambda: registry.choose(name, UNLOADED))

    return router

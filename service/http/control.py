"""POST /models/{name}/...: which version serves, by hand. Every route needs an admin key.

What is chosen here lasts as long as this process; SEQSERVE_VERSIONS says it for good and for every replica.
"""

from collections.abc import Callable

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from service.http import docs, exchange
from service.http.keys import Keys
from service.http.requests import PinRequest
from service.http.schemas import ChoiceAnswer
from service.registry import Registry
from service.settings import NEWEST, UNLOADED, Settings


def control_routes(settings: Settings, registry: Registry, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/models/{name}", tags=["admin"])

    async def change(name: str, work: Callable[[], None]) -> ChoiceAnswer:
        """In a thread: to load a model takes longer than other requests may wait."""
        await run_in_threadpool(work)
        model = registry.models.get(name)
        return ChoiceAnswer(name=name, wanted=registry.wanted(name), serving=None if model is None else model.manifest.version)

    @router.post("/pin", **docs.change(ChoiceAnswer, "This version serves, and no newer one takes its place", PinRequest))
    async def pin(request: Request, name: str) -> ChoiceAnswer:
        keys.check_admin(request.scope)  # before the body is read, which FastAPI would do without any bound
        wanted, _ = await exchange.read_request(request, PinRequest, settings)
        return await change(name, lambda: registry.choose(name, wanted.version))

    @router.post("/rollback", **docs.change(ChoiceAnswer, "The highest good version below the one that serves is pinned"))
    async def rollback(request: Request, name: str) -> ChoiceAnswer:
        keys.check_admin(request.scope)
        return await change(name, lambda: registry.roll_back(name))

    @router.post("/load", **docs.change(ChoiceAnswer, "The newest good version serves; ends a pin, and undoes unload"))
    async def load(request: Request, name: str) -> ChoiceAnswer:
        keys.check_admin(request.scope)
        return await change(name, lambda: registry.choose(name, NEWEST))

    @router.post("/unload", **docs.change(ChoiceAnswer, "No version serves, and its memory is given back"))
    async def unload(request: Request, name: str) -> ChoiceAnswer:
        keys.check_admin(request.scope)
        return await change(name, lambda: registry.choose(name, UNLOADED))

    return router

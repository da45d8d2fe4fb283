"""GET /v2: what the Open Inference Protocol tells of the service and of its models, and whether they are ready."""

from fastapi import APIRouter, Request

from service.errors import NotFound, Unavailable
from service.http import docs, examples
from service.http.drain import Drain
from service.http.health import check_ready
from service.http.protocol_schemas import INPUT, OUTPUTS, LiveAnswer, MetadataAnswer, ModelReadyAnswer, ReadyAnswer, ServerAnswer
from service.model import Model
from service.registry import Registry
from service.version import VERSION

# A model's address may name a version, which is the one that serves or none.
MODEL_PATHS = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
EXTENSIONS = ["binary_tensor_data", "generate", "parameters"]
PLATFORM = "onnxruntime_onnx"


def metadata_routes(registry: Registry, drain: Drain) -> APIRouter:
    router = APIRouter(tags=["Open Inference Protocol"])

    @router.get(
        "/v2",
        summary="The service and what it knows of the protocol",
        responses=docs.answers(examples.SERVER, examples.READING),
    )
    async def server() -> ServerAnswer:
        return ServerAnswer(name="seqserve", version=VERSION, extensions=EXTENSIONS)

    @router.get("/v2/health/live", summary="As /livez", responses=docs.answers({"live": True}))
    async def live() -> LiveAnswer:
        return LiveAnswer(live=True)

    @router.get("/v2/health/ready", summary="As /readyz", responses=docs.answers({"ready": True}, examples.NOT_READY))
    async def ready() -> ReadyAnswer:
        check_ready(registry, drain)
        return ReadyAnswer(ready=True)

    async def model(request: Request) -> MetadataAnswer:
        return _describe(serving(registry, *address_of(request)))

    async def model_ready(request: Request) -> ModelReadyAnswer:
        found = serving(registry, *address_of(request))
        if not found.worker.alive:
            raise Unavailable(f"the loop of {found.label} has stopped")
        return ModelReadyAnswer(name=found.manifest.name, ready=True)

    told = docs.answers(examples.METADATA, examples.READING_ONE)
    answers = docs.answers({"name": "korean-sentiment", "ready": True}, examples.READING_ONE)
    for path in MODEL_PATHS:
        router.add_api_route(path, model, **docs.at_path(path, {"summary": "What a model takes and gives", "responses": told}))
        ready_path = f"{path}/ready"
        described = docs.at_path(ready_path, {"summary": "The model answers", "responses": answers})
        router.add_api_route(ready_path, model_ready, **described)
    return router


def address_of(request: Request) -> tuple[str, str | None]:
    """The model's name and version that the address asks for."""
    return request.path_params["name"], request.path_params.get("version")


def serving(registry: Registry, name: str, version: str | None) -> Model:
    """Raises NotFound where no such model or version serves."""
    model = registry.models.get(name)
    if model is None:
        raise NotFound(f"there is no model {name!r}; there are {', '.join(registry.models) or 'none'}")
    check_version(model, version)
    return model


def check_version(model: Model, version: str | None) -> None:
    """Raises NotFound where it is another one."""
    if version not in (None, str(model.manifest.version)):
        raise NotFound(f"{model.manifest.name}: version {version!r} does not serve; version {model.manifest.version} does")


def _describe(model: Model) -> MetadataAnswer:
    manifest = model.manifest
    return MetadataAnswer(
        name=manifest.name,
        versions=[str(manifest.version)],
        platform=PLATFORM,
        inputs=[INPUT],
        outputs=OUTPUTS[manifest.task],
    )

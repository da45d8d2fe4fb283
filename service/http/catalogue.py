"""GET /models and GET /info: what serves, and within which limits."""

from fastapi import APIRouter

from service.http import docs, examples
from service.http.cards import PLOTS
from service.http.schemas import InfoAnswer, ModelAnswer, ModelsAnswer, RefusedAnswer
from service.inference.runtime import ONNXRUNTIME_VERSION
from service.model import Model
from service.registry import Registry
from service.settings import Settings
from service.version import VERSION


def catalogue_routes(settings: Settings, registry: Registry) -> APIRouter:
    router = APIRouter(tags=["catalogue"])

    @router.get(
        "/models",
        summary="The models that serve, and the folders that were refused and why",
        responses=docs.answers(examples.MODELS, examples.READING),
    )
    async def models() -> ModelsAnswer:
        return ModelsAnswer(
            models=[_describe(model, registry) for model in registry.models.values()],
            refused=[RefusedAnswer(**refused._asdict()) for refused in registry.refused],
        )

    @router.get(
        "/info",
        summary="The service itself, and the limits of a request",
        responses=docs.answers(examples.INFO, examples.READING),
    )
    async def info() -> InfoAnswer:
        limits = {name: getattr(settings, name) for name in InfoAnswer.model_fields if name in type(settings).model_fields}
        return InfoAnswer(
            service="seqserve",
            version=VERSION,
            onnxruntime=ONNXRUNTIME_VERSION,
            **{**limits, "threads": settings.operator_threads},
        )

    return router


def _describe(model: Model, registry: Registry) -> ModelAnswer:
    manifest = model.manifest
    return ModelAnswer(
        name=manifest.name,
        version=manifest.version,
        task=manifest.task,
        default=registry.is_default(manifest),
        wanted=registry.wanted(manifest.name),
        description=manifest.description,
        cell=manifest.cell,
        layers=manifest.layers,
        directions=manifest.directions,
        hidden=manifest.sizes.hidden,
        vocabulary=manifest.sizes.vocabulary,
        parameters=manifest.sizes.parameters,
        unit=manifest.unit,
        ngrams=manifest.ngrams,
        tables=manifest.tables,
        labels=manifest.labels,
        max_input_words=manifest.limits.max_input_words,
        state_bytes=manifest.state_bytes,
        scores=manifest.scores,
        plots=[plot.name for plot in PLOTS if plot.name in manifest.files],
        trained=manifest.training.created,
    )

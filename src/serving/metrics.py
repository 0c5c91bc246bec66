"""What a service counts, in Prometheus' text format."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from src.evaluation.prediction import Outputs
from src.serving.facts import ModelFacts

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)  # upper limits of the histograms' bins
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """A registry of its own, so that a process may hold several services, as the tests do."""

    def __init__(self, facts: ModelFacts) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU seconds, open files
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self.requests = counter("serve_requests", "Requests to /predict by HTTP status", ["status"])
        self.images = counter("serve_images", "Images that were answered")
        self.unreadable = counter("serve_unreadable_images", "Uploads that are no readable image")
        unusual = "Answered images whose ood_score only 1 % of the validation exceeded"
        self.unusual = counter("serve_unusual_images", unusual)
        headers_to_answer = "From the request's headers to its answer"
        self.request_seconds = histogram("serve_request_seconds", headers_to_answer, buckets=SECONDS)
        self.batch_images = histogram("serve_batch_images", "Images computed together", buckets=IMAGES)
        self.batch_seconds = histogram("serve_batch_seconds", "Computing of a batch", buckets=SECONDS)
        self.pending = Gauge("serve_pending_images", "Images that wait for an answer", registry=registry)
        info = Gauge("serve_model_info", "Always 1", ["file", "task", "backbone", "classes"], registry=registry)
        info.labels(facts.file, facts.task, facts.backbone, str(len(facts.class_names))).set(1)

    def computed(self, facts: ModelFacts, outputs: Outputs, seconds: float) -> None:
        images = len(next(iter(outputs.values())))
        self.images.inc(images)
        self.batch_images.observe(images)
        self.batch_seconds.observe(seconds)
        if "ood_score" in outputs and facts.ood_score_p99 is not None:
            self.unusual.inc(int((outputs["ood_score"] > facts.ood_score_p99).sum()))

    def text(self) -> bytes:
        return generate_latest(self.registry)

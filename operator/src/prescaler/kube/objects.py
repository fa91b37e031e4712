"""The few fields of Kubernetes objects that the operator reads; everything else is dropped while decoding.

A thousand HPAs with their managed fields are megabytes of dictionaries; as these structs they are some hundred
kilobytes.
"""

from datetime import UTC, datetime
from typing import Any

from msgspec import Raw, Struct, field, json

GROUP = "prescaler.energy-readings.dev"
VERSION = "v1alpha1"
FIELD_MANAGER = "prescaler"
FINALIZER = f"{GROUP}/restore-baseline"
RAISED = f"{GROUP}/raised"  # the annotation that says what was raised, beside the finalizer


class _Fields(Struct, rename="camel"):
    """Unknown fields are ignored: the API server's objects are larger than what is named here."""


class OwnedSpec(Struct):
    min_replicas: dict[str, Any] | None = field(name="f:minReplicas", default=None)
    min_replica_count: dict[str, Any] | None = field(name="f:minReplicaCount", default=None)


class OwnedFields(Struct):
    spec: OwnedSpec = field(name="f:spec", default_factory=OwnedSpec)


class ManagedFields(_Fields):
    manager: str = ""
    fields: OwnedFields = field(name="fieldsV1", default_factory=OwnedFields)


class OwnerReference(_Fields):
    kind: str = ""


class Meta(_Fields):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime = datetime.max.replace(tzinfo=UTC)
    deletion_timestamp: datetime | None = None
    finalizers: list[str] = []
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    managed_fields: list[ManagedFields] = []


class Condition(_Fields):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class BillingWindow(_Fields):
    """`spec` and `status` stay as they came until they are asked for: a thousand dictionaries at once are megabytes."""

    metadata: Meta
    raw_spec: Raw = field(name="spec", default=Raw(b"null"))
    raw_status: Raw = field(name="status", default=Raw(b"{}"))

    @property
    def spec(self) -> object:
        return json.decode(self.raw_spec)

    @property
    def status(self) -> object:
        return json.decode(self.raw_status)

    @property
    def key(self) -> tuple[str, str]:
        return self.metadata.namespace, self.metadata.name


class ScaleTargetRef(_Fields):
    name: str = ""
    kind: str = "Deployment"
    api_version: str = "apps/v1"


class HpaSpec(_Fields):
    max_replicas: int
    scale_target_ref: ScaleTargetRef
    min_replicas: int = 1


class HpaStatus(_Fields):
    current_replicas: int = 0
    conditions: list[Condition] = []


class Hpa(_Fields):
    metadata: Meta
    spec: HpaSpec
    status: HpaStatus = field(default_factory=HpaStatus)


class ScaledObjectSpec(_Fields):
    scale_target_ref: ScaleTargetRef
    min_replica_count: int | None = None
    max_replica_count: int | None = None


class ScaledObject(_Fields):
    """KEDA's; from it KEDA makes and keeps an HPA."""

    metadata: Meta
    spec: ScaledObjectSpec


class Resources(_Fields):
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class Container(_Fields):
    resources: Resources = field(default_factory=Resources)
    restart_policy: str = ""  # Always: an init container that stays, a sidecar


class Toleration(_Fields):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class PodSpec(_Fields):
    node_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] = []
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    overhead: dict[str, str] = {}
    resources: Resources | None = None
    priority_class_name: str = ""
    active_deadline_seconds: int | None = None


class Waiting(_Fields):
    reason: str = ""
    message: str = ""


class ContainerStatus(_Fields):
    name: str = ""
    state: dict[str, Waiting] = {}  # only the key `waiting` is read


class PodStatus(_Fields):
    phase: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []


class Pod(_Fields):
    metadata: Meta
    spec: PodSpec
    status: PodStatus = field(default_factory=PodStatus)


class Template(_Fields):
    spec: PodSpec


class Requirement(_Fields):
    key: str
    operator: str
    values: list[str] = []


class Selector(_Fields):
    match_labels: dict[str, str] = {}
    match_expressions: list[Requirement] = []


class WorkloadSpec(_Fields):
    selector: Selector
    template: Template
    replicas: int = 1


class WorkloadStatus(_Fields):
    replicas: int = 0
    ready_replicas: int = 0
    conditions: list[Condition] = []


class Workload(_Fields):
    """A Deployment or a StatefulSet."""

    metadata: Meta
    spec: WorkloadSpec
    status: WorkloadStatus = field(default_factory=WorkloadStatus)


class ScaleStatus(_Fields):
    replicas: int = 0
    selector: str = ""


class Scale(_Fields):
    """The scale subresource of anything else."""

    metadata: Meta
    status: ScaleStatus = field(default_factory=ScaleStatus)


class ApiResource(_Fields):
    name: str
    kind: str


class ApiResources(_Fields):
    resources: list[ApiResource] = []


class Taint(_Fields):
    key: str
    effect: str
    value: str = ""


class NodeSpec(_Fields):
    unschedulable: bool = False
    taints: list[Taint] = []


class NodeStatus(_Fields):
    allocatable: dict[str, str] = {}
    conditions: list[Condition] = []


class Node(_Fields):
    metadata: Meta
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


class Scope(_Fields):
    scope_name: str = ""
    operator: str = ""
    values: list[str] = []


class ScopeSelector(_Fields):
    match_expressions: list[Scope] = []


class QuotaSpec(_Fields):
    scopes: list[str] = []
    scope_selector: ScopeSelector = field(default_factory=ScopeSelector)


class QuotaStatus(_Fields):
    hard: dict[str, str] = {}
    used: dict[str, str] = {}


class Quota(_Fields):
    metadata: Meta
    spec: QuotaSpec = field(default_factory=QuotaSpec)
    status: QuotaStatus = field(default_factory=QuotaStatus)


class ConfigMap(_Fields):
    metadata: Meta
    data: dict[str, str] = {}


class LeaseSpec(_Fields):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None


class Lease(_Fields):
    metadata: Meta
    spec: LeaseSpec = field(default_factory=LeaseSpec)


class Event(_Fields):
    metadata: Meta

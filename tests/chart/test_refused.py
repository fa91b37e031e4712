"""Values that must be refused, each with a message that says what to change."""

import pytest

from tools.render import HelmError, template

pytestmark = pytest.mark.cluster  # for Helm itself

EXTERNAL = ("--set=database.kind=external", "--set=database.external.existingSecret=db")

GUARDS = [
    pytest.param(["database.kind=external"], "no database", id="no database"),
    pytest.param(["database.external.existingSecret=db"], "two databases", id="two databases"),
    pytest.param(
        ["database.kind=cloudnativepg", "database.external.existingSecret=db"], "two databases", id="two PostgreSQLs"
    ),
    pytest.param(["cockroachdb.tls.issuerRef.name=ours"], "cert-manager's", id="an issuer without cert-manager"),
    pytest.param(
        [
            "ingress.enabled=true",
            "ingress.hosts={a.example}",
            "ingress.tls[0].secretName=x",
            "ingress.tls[0].hosts={b.example}",
        ],
        "none of ingress.hosts",
        id="a certificate for another host",
    ),
    pytest.param(
        ["app.terminationGracePeriodSeconds=34"],
        "drain_timeout_s + request_timeout_s is 35",
        id="killed while draining",
    ),
    pytest.param(["app.settings.drain_delay_s=16"], "is 46", id="a longer delay needs a longer grace"),
    pytest.param(
        ["autoscaling.maxReplicas=7"],
        "8 pods (with the surge of a rollout) × 13 connections = 104",
        id="too many connections",
    ),
    pytest.param(
        ["app.rollout.maxSurge=2"], "over database.connectionBudget 95", id="the surge counts as connections too"
    ),
    pytest.param(["autoscaling.minReplicas=7"], "over autoscaling.maxReplicas 6", id="minimum over maximum"),
    pytest.param(["autoscaling.cpuUtilization=0"], "an HPA needs a metric", id="an HPA without a metric"),
    pytest.param(["app.resources.requests.cpu=null"], "which is not set", id="a share of no request"),
    pytest.param(["autoscaling.enabled=false"], "raises the minimum of an HPA", id="a window without an HPA"),
    pytest.param(["autoscaling.maxReplicas=5"], 'window "monthly-billing" asks for 6', id="a peak over the maximum"),
    pytest.param(["cockroachdb.nodes=2"], "odd number from 3", id="two database nodes"),
    pytest.param(["cockroachdb.nodes=4"], "odd number from 3", id="four database nodes"),
    pytest.param(
        ["cockroachdb.drain.transactionsSeconds=200"], "its drain may take 470 s", id="a database killed while draining"
    ),
    pytest.param(
        ["cockroachdb.tls.source=existing"],
        "tls.existing.app names no Secret",
        id="existing certificates without a name",
    ),
    pytest.param(
        ["cockroachdb.tls.authorityDays=300"], "at least 120 more", id="an authority that ends before what it signs"
    ),
    pytest.param(
        ["cockroachdb.tls.authority=trust", "cockroachdb.tls.source=cert-manager"],
        "somebody else's",
        id="another's authority",
    ),
    pytest.param(["cockroachdb.locality=region=volga\\,zone=a"], "share one zone", id="one zone for all nodes"),
    pytest.param(
        ["cockroachdb.locality=region=volga", "cockroachdb.localityLabels={a/zone}"],
        "exclude each other",
        id="two localities",
    ),
    pytest.param(
        ["cockroachdb.cache=60%", "cockroachdb.maxSqlMemory=30%"], "at most 75%", id="more memory than there is"
    ),
    pytest.param(["cockroachdb.resources.limits.memory=null"], "whole machine", id="a share of no limit"),
    pytest.param(["app.resources=null"], "app.resources.requests", id="no resources at all"),
    pytest.param(["service.nodePort=30080"], "needs service.type", id="a node port of a ClusterIP"),
    pytest.param(
        ["load.enabled=true", "load.script=nonexistent.js"], "none of the chart's scripts", id="a script nobody has"
    ),
    pytest.param(
        ["monitoring.rules.enabled=true"], "monitoring.rules.selectors", id="alerts on series that nobody scrapes"
    ),
    pytest.param(["ingress.enabled=true"], "needs ingress.hosts", id="an Ingress for nobody"),
    pytest.param(["httpRoute.enabled=true"], "needs httpRoute.parentRefs", id="a route without a gateway"),
    pytest.param(
        ["load.enabled=true", "auth.bootstrap.enabled=false"],
        "load.enabled needs auth.bootstrap",
        id="load without a key",
    ),
]

SCHEMA = [
    pytest.param(["replicaCount=3"], "replicaCount", id="a value nobody knows"),
    pytest.param(["cockroachdb.enabled=false"], "enabled", id="the switch that database.kind replaced"),
    pytest.param(["database.kind=mysql"], "kind", id="a database nobody speaks"),
    pytest.param(["cloudnativepg.instances=2"], "instances", id="two instances, of which none may be lost"),
    pytest.param(["cloudnativepg.parameters.max_connections=9"], "parameters", id="connections that the chart computes"),
    pytest.param(["cloudnativepg.image.tag=latest"], "tag", id="a tag without PostgreSQL's version"),
    pytest.param(["cloudnativepg.backup.objectStore.endpointURL=x"], "destinationPath", id="an object store without a place"),
    pytest.param(["cloudnativepg.backup.schedule=0 1 * * *"], "schedule", id="a schedule of five fields"),
    pytest.param(["networkPolicy.cloudnativepg.operator=[]"], "operator", id="nobody may ask the instances"),
    pytest.param(["cockroachdb.tls.issuerRef.kind=ClusterIssuer"], "issuerRef", id="an issuer without a name"),
    pytest.param(["ingress.tls[0].hosts={a.example}"], "secretName", id="TLS without a certificate"),
    pytest.param(["httpRoute.parentRefs[0].gateway=x"], "gateway", id="a parent of no kind"),
    pytest.param(["extraObjects[0].kind=Secret"], "extraObjects", id="an object without a version"),
    pytest.param(["app.image.tags=x"], "tags", id="a misspelt value deep inside"),
    pytest.param(["app.settings.queue_row_max=1"], "queue_row_max", id="a misspelt setting"),
    pytest.param(["app.settings.queue_rows_max=0"], "queue_rows_max", id="a setting out of its range"),
    pytest.param(["app.settings.write_strategy=fast"], "write_strategy", id="a strategy that isn't there"),
    pytest.param(["app.settings.database_url=postgresql://u:p@h/d"], "database_url", id="a password in values"),
    pytest.param(["app.settings.drain_delay_s=null"], "drain_delay_s", id="a setting that the chart computes with, removed"),
    pytest.param(["app.image.digest=sha256:abc"], "digest", id="a digest cut short"),
    pytest.param(["app.image.pullPolicy=Sometimes"], "pullPolicy", id="an unknown pull policy"),
    pytest.param(["app.replicas=0"], "replicas", id="no replicas"),
    pytest.param(["app.spread=Maybe"], "spread", id="an unknown spread"),
    pytest.param(["autoscaling.cpuUtilization=-1"], "cpuUtilization", id="a negative share"),
    pytest.param(["service.type=ExternalName"], "type", id="a Service type that can't work"),
    pytest.param(["service.port=70000"], "port", id="a port that isn't one"),
    pytest.param(["ingress.paths[0].path=v1", "ingress.paths[0].pathType=Prefix"], "path", id="a path without a slash"),
    pytest.param(["networkPolicy.apiServerCidrs={anywhere}"], "apiServerCidrs", id="a range that isn't one"),
    pytest.param(["database.external.ports={}"], "ports", id="no database port"),
    pytest.param(["database.connectionBudget=0"], "connectionBudget", id="a budget of nothing"),
    pytest.param(["cockroachdb.mode=insecure"], "mode", id="an unknown mode"),
    pytest.param(["cockroachdb.cache=200%"], "cache", id="a cache beyond the memory"),
    pytest.param(["cockroachdb.terminationGracePeriodSeconds=60"], "terminationGracePeriodSeconds", id="a database's grace under 300 s"),
    pytest.param(["cockroachdb.tls.source=none"], "source", id="a database without TLS"),
    pytest.param(["cockroachdb.tls.renewSchedule=monthly"], "renewSchedule", id="a schedule that isn't one"),
    pytest.param(["cockroachdb.tls.renewSchedule=a b c d e"], "renewSchedule", id="letters for a schedule"),
    pytest.param(["cockroachdb.tls.certificateDays=30"], "certificateDays", id="certificates shorter than their schedule"),
    pytest.param(["cockroachdb.image.tag="], "image", id="a database of the chart's version"),
    pytest.param(["load.image.tag="], "image", id="a k6 of the chart's version"),
    pytest.param(["cockroachdb.locality=a b"], "locality", id="a locality that isn't one"),
    pytest.param(["cockroachdb.clusterSettings.x;y=1"], "x;y", id="SQL in a setting's name"),
    pytest.param(["clusterDomain=Foo Bar"], "clusterDomain", id="a domain that isn't one"),
    pytest.param(["fullnameOverride=Foo_Bar"], "fullnameOverride", id="a name that isn't one"),
    pytest.param(["auth.bootstrap.key=a b/c"], "key", id="a key that no Secret can have"),
    pytest.param(["service.type=NodePort", "service.nodePort=80"], "nodePort", id="a node port out of range"),
    pytest.param(["ingress.hosts={a b}"], "hosts", id="a host that isn't one"),
    pytest.param(["app.tolerations[0].foo=1"], "tolerations", id="a toleration of nothing"),
    pytest.param(["networkPolicy.clients[0].foo=1"], "clients", id="a peer of nothing"),
    pytest.param(["networkPolicy.apiServerCidrs={999.0.0.0/99}"], "apiServerCidrs", id="a range beyond the addresses"),
    pytest.param(["cockroachdb.storage.size=0"], "size", id="a disk of nothing"),
    pytest.param(["operator.billingWindow.spec.windows[0].fromDay=99"], "fromDay", id="a day no month has"),
    pytest.param(["operator.billingWindow.spec.nonsense=1"], "nonsense", id="a field no BillingWindow has"),
    pytest.param(["operator.crd.install=false"], "crd", id="a value that is gone"),
    pytest.param(["operator.replicas=9"], "replicas", id="nine operators"),
    pytest.param(["operator.env.HOME=/"], "HOME", id="another program's variable"),
    pytest.param(["operator.billingWindow.spec.targetRef.name=x"], "spec", id="a window for another HPA"),
    pytest.param(["monitoring.rules.runbookBase=docs"], "runbookBase", id="runbooks at no address"),
    pytest.param(["load.script=../peak.js"], "script", id="a script outside the folder"),
    pytest.param(["tests.url=energy"], "url", id="an address without a scheme"),
    pytest.param(["labels.a.b=c"], "labels", id="a label that is an object"),
]  # fmt: skip


@pytest.mark.parametrize(("sets", "says"), [*GUARDS, *SCHEMA])
def test_is_refused(sets: list[str], says: str) -> None:
    with pytest.raises(HelmError) as refused:
        template(*(f"--set={value}" for value in sets))
    assert says in str(refused.value)


def test_the_external_database_alone_is_enough() -> None:
    assert "kind: Deployment" in template(*EXTERNAL)


def test_an_old_kubernetes_is_refused() -> None:
    with pytest.raises(HelmError, match="kubeVersion"):
        template("--kube-version=1.29.0")

"""The Kubernetes objects that cluster tests make, each as strict as Pod Security `restricted` wants it."""

from tools.cluster import Manifest

APP_IMAGE = "energy:dev"
OPERATOR_IMAGE = "energy-prescaler:dev"
WEB_PORT = 8000
# Answers every request with the pod's name: who answered is what the tests ask.
_WEB = f"""
import http.server, socket
class Name(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(socket.gethostname().encode())
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("", {WEB_PORT}), Name).serve_forever()
"""
SLEEP = "import signal; signal.pause()"


def container(*words: str, image: str = APP_IMAGE, **more: object) -> Manifest:
    """A container that may do nothing it doesn't need."""
    return {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "args": list(words),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **more,
    }


def pod_spec(main: Manifest, **more: object) -> Manifest:
    return {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 1,
        "enableServiceLinks": False,  # a Service named energy would set ENERGY_PORT to an address
        "containers": [main],
        **more,
    }


def pod(name: str, namespace: str, spec: Manifest) -> Manifest:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def script(name: str, namespace: str, text: str, **more: object) -> Manifest:
    """A pod that runs a Python text once."""
    return pod(name, namespace, pod_spec(container("python", "-c", text), restartPolicy="Never", **more))


def deployment(name: str, namespace: str, replicas: int | None, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


def spread_web(name: str, namespace: str, replicas: int) -> Manifest:
    """A web server whose pods must be on different nodes as far as there are any."""
    probe = {"httpGet": {"path": "/", "port": WEB_PORT}, "periodSeconds": 1}
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": name}},
    }
    web = container("python", "-c", _WEB, readinessProbe=probe)
    return deployment(name, namespace, replicas, pod_spec(web, topologySpreadConstraints=[constraint]))


def service(name: str, namespace: str, port: int = 80, target: int = WEB_PORT) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": port, "targetPort": target}]},
    }


def budget(name: str, namespace: str, **allows: int) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, **allows},
    }


def service_app(namespace: str, database_url: str) -> list[Manifest]:
    """The ingestion service with an HPA on CPU, without the chart: the images are what is tested here."""
    settings = {
        "ENERGY_DATABASE_URL": database_url,
        "ENERGY_HOST": "0.0.0.0",
        "ENERGY_AUTH": "off",
        "ENERGY_INSECURE": "true",
        "ENERGY_DATABASE_CONNECTIONS_MAX": "4",
        "ENERGY_MIGRATE": "false",
        "ENERGY_DRAIN_DELAY_S": "0",
    }
    app = container(
        "energy",
        "serve",
        env=[{"name": name, "value": value} for name, value in settings.items()],
        resources={"requests": {"cpu": "100m", "memory": "128Mi"}},
        readinessProbe={"httpGet": {"path": "/readyz", "port": 8000}, "periodSeconds": 1},
        livenessProbe={"httpGet": {"path": "/livez", "port": 8000}},
        volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
    )
    scaler: Manifest = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "energy", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "energy"},
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }
            ],
        },
    }
    spec = pod_spec(app, volumes=[{"name": "tmp", "emptyDir": {}}])
    return [deployment("energy", namespace, None, spec), service("energy", namespace), scaler]

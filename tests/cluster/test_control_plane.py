"""The smallest cluster: an API server with real controllers behind it."""

import pytest

from tools.cluster import Cluster, RefusedError

pytestmark = pytest.mark.cluster


def test_the_api_is_the_pinned_version(control_plane: Cluster) -> None:
    assert "Server Version: v1.34." in control_plane.kubectl("version")


def test_controllers_act_on_what_is_declared(control_plane: Cluster, control_plane_namespace: str) -> None:
    control_plane.kubectl("create", "deployment", "web", "--image=web", "--replicas=2", "-n", control_plane_namespace)
    control_plane.kubectl.wait_for(
        "deployment",
        "web",
        lambda web: web.get("status", {}).get("observedGeneration") == 1,
        "is seen by its controller",
        namespace=control_plane_namespace,
    )


def test_objects_survive_a_restart_of_the_api_server(control_plane: Cluster, control_plane_namespace: str) -> None:
    control_plane.kubectl("create", "configmap", "before", "-n", control_plane_namespace)
    control_plane.restart_apiserver()
    assert control_plane.kubectl.get("configmap", "before", namespace=control_plane_namespace)


def test_a_stopped_api_server_answers_nobody(control_plane: Cluster) -> None:
    control_plane.stop_apiserver()
    try:
        with pytest.raises(RefusedError, match="refused"):
            control_plane.kubectl("get", "namespaces")
    finally:
        control_plane.start_apiserver()


def test_two_control_planes_live_side_by_side(control_plane: Cluster) -> None:
    with Cluster(controllers=False) as other:
        other.kubectl("create", "namespace", "only-here")
        with pytest.raises(RefusedError, match="NotFound"):
            control_plane.kubectl("get", "namespace", "only-here")

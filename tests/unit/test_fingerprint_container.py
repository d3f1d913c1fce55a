"""What keeps the process in a container is recognised, whichever runtime it is."""

import pytest

from w2v_core.records.fingerprint import container

OVERLAY = "1 0 0:99 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/{}/snapshots/1/fs\n"
PLAIN = "28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
ELSEWHERE = "9 1 0:50 / /var/lib/containerd/x rw - overlay overlay rw,lowerdir=/a\n"


@pytest.mark.parametrize(
    ("files", "environ", "name"),
    [
        pytest.param({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes", id="pod"),
        pytest.param({".dockerenv": ""}, {}, "docker", id="docker"),
        pytest.param({"run/.containerenv": ""}, {}, "podman", id="podman"),
        pytest.param(
            {"proc/self/mountinfo": OVERLAY.format("containerd/io.containerd.snapshotter")},
            {},
            "containerd",
            id="containerd",
        ),
        pytest.param(
            {"proc/self/mountinfo": OVERLAY.format("docker/overlay2")}, {}, "docker", id="overlay2"
        ),
        pytest.param(
            {"proc/1/cgroup": "4:cpu:/kubepods/burstable/pod1/0a\n"}, {}, "kubernetes", id="v1"
        ),
        pytest.param({"proc/self/mountinfo": PLAIN + ELSEWHERE}, {}, None, id="its-host"),
        pytest.param({}, {}, None, id="unreadable"),
    ],
)
def test_container_is_named(tmp_path, files, environ, name):
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert container(tmp_path, environ) == name

"""validate.py [--write]: renders the chart as Helm does, lints it, and validates
all manifests here against Kubernetes's own schemas.

Needs the packages helm-python-sdk (Helm's library) and kubernetes-validate
(the schemas). --write renews manifests.yaml, the chart with its defaults.
"""

import pathlib
import sys

import helm_python as helm
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
CHART = HERE / "xsched"
PLAIN = HERE / "manifests.yaml"
HEAD = """\
# The chart with its defaults, for kubectl create namespace xsched-system, then
# kubectl apply -f. Made by validate.py --write: change the chart, not this file.
"""
# Values that reach every branch of the templates.
VARIANTS = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example/xsched", "tag": "x"},
        "nodeSelector": {"gpu": "true"},
        "agent": {"args": ["--no-bpf", "--realtime", "--metrics"]},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    },
    "without the API server": {"pods": {"enabled": False}, "tolerations": []},
    "TLS": {
        "agent": {"args": ["--metrics-processes=5"]},
        "pods": {"enabled": False},
        "metrics": {
            "proxy": {"enabled": True, "image": "registry.example/kube-rbac-proxy:x", "tlsSecret": "xsched-tls"},
            "serviceMonitor": {"enabled": True, "tlsConfig": {"insecureSkipVerify": True}},
        },
    },
}
BAD = {
    "an unknown key": {"agents": {}},
    "a relative path": {"shim": {"hostPath": "var"}},
    "a port beyond all": {"metrics": {"port": 70000}},
    "a proxy without an image": {"metrics": {"proxy": {"enabled": True, "image": ""}}},
}
PROXY = {"enabled": True, "image": "registry.example/kube-rbac-proxy:x"}
# What the schema cannot tell, and the template refuses.
REFUSED = {
    "the proxy on the agent's port": {"metrics": {"port": 9465, "proxy": PROXY}},
    "--metrics twice": {"agent": {"args": ["--no-bpf", "--metrics=[::]:9464"]}, "metrics": {"proxy": PROXY}},
    "--metrics twice, without an address": {"agent": {"args": ["--metrics"]}, "metrics": {"proxy": PROXY}},
}
VERSIONS = ("1.30", "1.37")


def documents(values: dict) -> list[str]:
    chart = helm.Chart.load(str(CHART))
    rendered = chart.render(values=values, name="xsched", namespace="xsched-system")
    return [rendered[name] for name in sorted(rendered) if not name.endswith(".tpl")]


def check(text: str, what: str) -> int:
    count = 0
    for document in yaml.safe_load_all(text):
        if document is None:
            continue
        # Custom resources have no schema in Kubernetes itself.
        if not document["apiVersion"].startswith("monitoring.coreos.com/"):
            for version in VERSIONS:
                if document["kind"].startswith("MutatingAdmissionPolicy") and version == "1.30":
                    continue
                kubernetes_validate.validate(document, version, strict=True)
        count += 1
    assert count, what
    return count


def main() -> None:
    for values in VARIANTS.values():
        report = helm.lint(str(CHART), values, strict=True)
        # Severity 1 informs: the chart has no icon.
        assert not report["errors"] and all(m["severity"] < 2 for m in report["messages"]), report
    plain = HEAD + "---\n".join(text.strip() + "\n" for text in documents({}))
    if "--write" in sys.argv:
        PLAIN.write_text(plain)
    assert PLAIN.read_text() == plain, "manifests.yaml is old: validate.py --write"
    count = 0
    for name, values in VARIANTS.items():
        for text in documents(values):
            if text.strip():
                count += check(text, name)
    for name in ("manifests.yaml", "cdi-pod.yaml", "mutating-policy.yaml"):
        count += check((HERE / name).read_text(), name)
    for name, values in BAD.items():
        try:
            helm.Chart.load(str(CHART)).validate_schema(values)
        except helm.HelmError:
            continue
        raise SystemExit(f"accepted: {name}")
    for name, values in REFUSED.items():
        try:
            documents(values)
        except helm.HelmError as e:
            assert "metrics" in str(e), e
            continue
        raise SystemExit(f"rendered: {name}")
    print(f"figure: manifests_valid {count}")


main()

"""Compares answers with docs/openapi.yaml: every path, status, content type and JSON body.

Needs python3-yaml and python3-jsonschema of Debian. The schemas are JSON Schema 2020-12, as OpenAPI 3.1 says.
"""

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request

import jsonschema
import yaml

PATIENCE = 60


class Description:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.root = yaml.safe_load(file)
        self.patterns = [(re.compile("^" + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + "$"), path)
                         for path in sorted(self.root["paths"], key=lambda path: path.count("{"))]
        self.seen = set()  # (path, method, status) that an answer was compared with

    def resolve(self, node):
        while "$ref" in node:
            target = self.root
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def operations(self):
        for path, item in self.root["paths"].items():
            for method in ("get", "post", "delete"):
                if method in item:
                    yield path, method, item[method]

    def validator(self, schema):
        # References are within the whole description.
        return jsonschema.Draft202012Validator({**schema, "components": self.root["components"]})

    def path_of(self, target):
        path = urllib.parse.urlsplit(target).path
        for pattern, described in self.patterns:
            if pattern.match(path):
                return described
        return None

    def check(self, method, target, answer):
        """Raises AssertionError where the answer is not as described; returns its JSON or text."""
        path = self.path_of(target)
        assert path, f"{target} is not described"
        responses = self.root["paths"][path][method.lower()]["responses"]
        described = responses.get(str(answer.status))
        assert described, f"{method} {target}: {answer.status} is not described: {answer.text[:300]}"
        content = self.resolve(described)["content"]
        kind = answer.headers["Content-Type"].split(";")[0]
        assert kind in content, f"{method} {target}: {kind} is not described"
        body = json.loads(answer.text) if kind == "application/json" else answer.text
        for error in self.validator(content[kind]["schema"]).iter_errors(body):
            raise AssertionError(f"{method} {target}: {error.json_path}: {error.message[:500]}")
        self.seen.add((path, method.lower(), str(answer.status)))
        return body


class Answer:
    def __init__(self, status, headers, text):
        self.status = status
        self.headers = headers
        self.text = text


def ask(base, target, method="GET", headers=None):
    request = urllib.request.Request(base + target, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return Answer(answer.status, answer.headers, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read().decode())


def description():
    here = os.path.dirname(os.path.abspath(__file__))
    return Description(os.path.join(here, "..", "..", "docs", "openapi.yaml"))

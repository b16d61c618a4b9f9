# Records what a playbook found and left: merges its arguments into the JSON file that
# deployment-system named. Runs in the controller, without a module process. A run that undoes an
# earlier one is told what that one left; where something else is found, it ends before it acts.
from __future__ import annotations

import json
import os

from ansible.plugins.action import ActionBase


def differing(expected, found, path=""):
    """Says of the first value that is not as expected what it is."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            inner = found.get(name) if isinstance(found, dict) else None
            other = differing(value, inner, f"{path}.{name}" if path else name)
            if other is not None:
                return other
        return None
    if expected == found:
        return None
    return f"{path} was changed since: it left {json.dumps(expected)}, now {json.dumps(found)}"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        path = task_vars["firebreak_record_file"]
        record = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
        record.update(self._task.args)
        expected = json.loads(str(task_vars.get("firebreak_expected", "{}")))
        other = differing(expected, record.get("before")) if "before" in self._task.args else None
        if other is not None:
            record["refused"] = other
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.replace(path + ".new", path)
        result["changed"] = False
        if other is not None:
            result["failed"] = True
            result["msg"] = other
        return result

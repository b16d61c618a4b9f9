# Records what a playbook found and left: merges its arguments into the JSON file that
# deployment-system named. Runs in the controller, without a module process.
from __future__ import annotations

import json
import os

from ansible.plugins.action import ActionBase


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
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.replace(path + ".new", path)
        result["changed"] = False
        return result

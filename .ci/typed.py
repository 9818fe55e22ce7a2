"""How many public names have types that pyright knows in full, and which have not."""

import json
import os
import subprocess
import sys

LEAST = 0.95

# The package is looked up in the interpreter's environment: that of this script, also where it was not activated.
folder = os.path.dirname(sys.executable)
environment = {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"]}
environment["VIRTUAL_ENV"] = os.path.dirname(folder)
command = ["pyright", "--verifytypes", "ratelike", "--ignoreexternal", "--outputjson"]
run = subprocess.run(command, env=environment, capture_output=True, text=True)
report = json.loads(run.stdout)["typeCompleteness"]
if not report["exportedSymbolCounts"]["withKnownType"]:
    sys.exit("no typed package called ratelike was found in this environment")
score = report["completenessScore"]
print(f"types of public names: {score:.1%} are complete")
if score < LEAST:
    incomplete = [s for s in report["symbols"] if not s["isTypeKnown"]]
    for symbol in incomplete:
        print(" ", symbol["name"])
    sys.exit(f"at least {LEAST:.0%} are asked for")

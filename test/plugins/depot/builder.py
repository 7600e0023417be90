import json
import sys
import time

call = json.load(sys.stdin)
conf = dict(line.split("=", 1) for line in call["files"].get("greet.conf", "").splitlines() if "=" in line)
if "greet.conf" not in call["paths"]:
    answer = {"detect": None}
elif conf.get("mood") == "slow":
    time.sleep(1000)
elif conf.get("mood") == "garbled":
    print("<html>")
    sys.exit(0)
elif conf.get("mood") == "rude":
    answer = {"detect": {"reason": "greet.conf is there"}, "refuse": "greet.conf is rude"}
elif conf.get("mood") == "sly":
    answer = {"detect": {"reason": "greet.conf is there"}, "plan": {"dockerfile": "FROM %s\nRUN --security=insecure id\n" % conf["base"]}}
else:
    answer = {
        "detect": {"reason": "greet.conf is there"},
        "plan": {
            "dockerfile": "FROM %s\nCOPY version /version\nENV GREETING=%s\n" % (conf["base"], conf["greeting"]),
            "processTypes": {"web": None, "worker": "sleep 100000"},
            "summary": "Greeting " + conf["greeting"],
            "details": ["from " + conf["base"]],
        },
        "say": ["asked for " + call["app"]["name"]],
    }
print(json.dumps(answer))

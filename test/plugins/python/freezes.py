import json
import sys

call = json.load(sys.stdin)
count = call['state'] or 0
for event in call['events']:
    data = event['data']
    if data.get('plugin') == 'guard' and data.get('key') == 'frozen' and data.get('value') is not None:
        count += 1
json.dump({'state': count}, sys.stdout)

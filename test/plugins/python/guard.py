import json
import sys

call = json.load(sys.stdin)
app = call.get('app', {})


def answer():
    if call['call'] == 'hook':
        why = app['settings'].get('frozen')
        return {'refuse': f"{app['name']} is frozen: {why}"} if why else {}
    command = call['command']
    if command == 'guard:freeze':
        return {'settings': {'frozen': ' '.join(call['input']['why'])}, 'say': [f"{app['name']} is frozen"], 'data': {'frozen': True}}
    if command == 'guard:thaw':
        if 'frozen' not in app['settings']:
            return {'error': f"{app['name']} is not frozen", 'hint': f"berth guard:freeze {app['name']} <why>"}
        return {'settings': {'frozen': None}, 'say': [f"{app['name']} deploys again"]}
    return {'secrets': {'token': call['input']['token']}, 'say': ['the token before was ' + call['settings'].get('token', 'none')]}


json.dump(answer(), sys.stdout)

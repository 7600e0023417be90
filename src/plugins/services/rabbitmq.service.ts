import type { ServiceAccess, ServiceExec, ServiceLogin, ServiceType } from './service-type.js';
import { listens } from './tcp.js';

const HOME = '/var/lib/rabbitmq';

/** The node is called the same in every container: its data is filed under that name. Nobody else is its peer. */
const SCRIPT = `#!/bin/sh
set -eu
# it makes tables for as many files as it may open: some engines say a milliard
files=$(ulimit -n)
{ [ "$files" != unlimited ] && [ "$files" -le 65536 ]; } || ulimit -n 65536
install -d -m 0750 -o rabbitmq -g rabbitmq ${HOME}
# the registry's image has another number for this user
[ "$(stat -c %u ${HOME}/mnesia 2> /dev/null || id -u rabbitmq)" = "$(id -u rabbitmq)" ] || chown -R rabbitmq:rabbitmq ${HOME}
export ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups /usr/lib/rabbitmq/bin/rabbitmq-server "$@"
`;

const env = { RABBITMQ_NODENAME: 'rabbit@localhost', RABBITMQ_LOGS: '-', HOME };
const inside = (argv: readonly string[]): ServiceExec => ({ argv, user: 'rabbitmq', env });
const ctl = (words: readonly string[]): ServiceExec => inside(['rabbitmqctl', '-q', ...words]);

/** read by the server when it makes its data; there is no guest then */
const first = ({ user, password, database }: ServiceAccess): Record<string, string> => ({ ...env, RABBITMQ_DEFAULT_USER: user, RABBITMQ_DEFAULT_PASS: password, RABBITMQ_DEFAULT_VHOST: database });

/** Its user, its vhost and what the one may in the other, as definitions; by a file, since rabbitmqctl does not see the end of its input. */
const DEFINE = 'set -eu\numask 077\nfile=$(mktemp)\ntrap \'rm -f "$file"\' EXIT\ncat > "$file"\nrabbitmqctl -q import_definitions "$file" < /dev/null\n';
const define = ({ user, password, database }: ServiceAccess): ServiceExec => ({
  ...inside(['sh', '-c', DEFINE]),
  stdin: JSON.stringify({ vhosts: [{ name: database }], users: [{ name: user, password, tags: ['administrator'] }], permissions: [{ user, vhost: database, configure: '.*', write: '.*', read: '.*' }] }),
});

/** Has the server evaluate what is piped in; its last word must be true. By a file, too: on the command line it would be seen. */
const EVALUATE = 'set -eu\numask 077\nfile=$(mktemp)\ntrap \'rm -f "$file"\' EXIT\ncat > "$file"\nsaid=$(rabbitmqctl -q eval_file "$file" < /dev/null)\n[ "$said" = true ] || { printf "%s\\n" "$said" >&2; exit 1; }\n';
const evaluate = (words: string): ServiceExec => ({ ...inside(['sh', '-c', EVALUATE]), stdin: `${words}\n` });
const binary = (text: string): string => `<<"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}">>`;

/** What one may, the other may. */
const sameRights = (from: ServiceLogin, to: ServiceLogin): ServiceExec => evaluate(`Own = fun(Key, Row) -> proplists:get_value(Key, Row) end,
[ok = rabbit_auth_backend_internal:set_permissions(${binary(to.user)}, Own(vhost, Row), Own(configure, Row), Own(write, Row), Own(read, Row), <<"berth">>) || Row <- rabbit_auth_backend_internal:list_user_permissions(${binary(from.user)})],
[ok = rabbit_auth_backend_internal:set_topic_permissions(${binary(to.user)}, Own(vhost, Row), Own(exchange, Row), Own(write, Row), Own(read, Row), <<"berth">>) || Row <- rabbit_auth_backend_internal:list_user_topic_permissions(${binary(from.user)})],
true.`);

export const rabbitmq: ServiceType = {
  type: 'rabbitmq', aliases: [], title: 'RabbitMQ', version: '4.0',
  registry: { reference: 'rabbitmq:4', volume: HOME, env: first, command: () => null },
  // of the package's own: whoever has the cookie is the node's master
  packaged: { packages: ['rabbitmq-server'], lines: [`RUN rm -rf ${HOME}/.erlang.cookie ${HOME}/* /var/log/rabbitmq/*`], script: SCRIPT, volume: HOME, env: first, command: () => null },
  port: 5672, ports: [], stopSeconds: 60, variable: 'RABBITMQ_URL',
  user: (name) => name,
  dsn: ({ user, password, host, port, database }) => `amqp://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}`,
  health: () => listens(5672),
  setup: (access) => [define(access)],
  rotation: {
    how: 'beside', second: (name) => `${name}_2`,
    admit: (access) => [define(access), ...(access.former === null || access.former.user === access.user ? [] : [sameRights(access.former, access)])],
    // its connections go with it
    retire: (_, { user }) => [evaluate(`case rabbit_auth_backend_internal:exists(${binary(user)}) of true -> ok = rabbit_auth_backend_internal:delete_user(${binary(user)}, <<"berth">>), true; false -> true end.`)],
    login: (_, { user, password }) => evaluate(`case rabbit_access_control:check_user_pass_login(${binary(user)}, ${binary(password)}) of {ok, _} -> true; {refused, _, Why, With} -> lists:flatten(io_lib:format(Why, With)) end.`),
  },
  tellVersion: ctl(['version']),
  connect: (_, words) => ctl(words),
  dumps: null, noDumps: 'messages have no dump; its queues, exchanges and users: berth rabbitmq:connect <service> export_definitions -',
};

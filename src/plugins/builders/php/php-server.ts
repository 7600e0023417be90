/** nginx and php-fpm in one container: the configuration, and the program that starts both and ends with the first that ends. */

const hidden = (root: string): string => (root === '' ? '\n    location ~ ^/(?:vendor|node_modules)/|^/(?:composer\\.(?:json|lock)|Procfile|app\\.json|package(?:-lock)?\\.json)$ { return 404; }' : '');

/** @param root document root below the app's folder, `` = the folder itself */
export const nginxConf = (home: string, root: string): string => `daemon off;
pid /tmp/nginx.pid;
error_log stderr warn;
worker_processes 2;
events { worker_connections 1024; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  charset utf-8;
  log_format requests '$http_x_forwarded_for "$request" $status $body_bytes_sent $request_time "$http_user_agent"';
  access_log /dev/stdout requests;
  client_body_temp_path /tmp/nginx-body; proxy_temp_path /tmp/nginx-proxy; fastcgi_temp_path /tmp/nginx-fastcgi; uwsgi_temp_path /tmp/nginx-uwsgi; scgi_temp_path /tmp/nginx-scgi;
  sendfile on;
  server_tokens off;
  absolute_redirect off;
  client_max_body_size 0;
  gzip on;
  gzip_vary on;
  gzip_proxied any;
  gzip_min_length 512;
  gzip_types text/plain text/css text/xml text/javascript application/javascript application/json application/manifest+json application/xml application/rss+xml application/atom+xml image/svg+xml;
  map $http_x_forwarded_proto $secure { default ""; https on; }
  server {
    listen @PORT@;
    root ${home}${root === '' ? '' : `/${root}`};
    index index.php index.html;
    location ~ /\\.(?!well-known(?:/|$)) { return 404; }${hidden(root)}
    location / { try_files $uri $uri/ /index.php$is_args$args; }
    location ~ \\.php(?:/|$) {
      fastcgi_split_path_info ^(.+?\\.php)(/.*)?$;
      if (!-f $document_root$fastcgi_script_name) { return 404; }
      fastcgi_pass unix:/tmp/php-fpm.sock;
      fastcgi_read_timeout 3600s;
      fastcgi_buffers 16 16k;
      fastcgi_buffer_size 32k;
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
      fastcgi_param DOCUMENT_ROOT $realpath_root;
      fastcgi_param PATH_INFO $fastcgi_path_info;
      fastcgi_param HTTPS $secure if_not_empty;
      fastcgi_param HTTP_PROXY "";
    }
  }
}
`;

export const FPM_CONF = `[global]
error_log = /proc/self/fd/2
daemonize = no
[www]
listen = /tmp/php-fpm.sock
pm = dynamic
pm.max_children = @WORKERS@
pm.start_servers = 1
pm.min_spare_servers = 1
pm.max_spare_servers = @SPARE@
pm.max_requests = 1000
clear_env = no
catch_workers_output = yes
decorate_workers_output = no
`;

/** for php-fpm and the command line */
export const PHP_INI = `variables_order = EGPCS
expose_php = Off
display_errors = Off
log_errors = On
error_log = /proc/self/fd/2
upload_max_filesize = 64M
post_max_size = 64M
opcache.enable = 1
opcache.validate_timestamps = 0
opcache.memory_consumption = 96
opcache.interned_strings_buffer = 16
opcache.max_accelerated_files = 20000
`;

/** One worker for each memory_limit that the container's memory holds, unless WEB_CONCURRENCY says how many. */
export const PHP_SERVE = `#!/bin/bash
here=/usr/local/lib/berth/php
case "$PORT" in ''|*[!0-9]*) PORT=5000 ;; esac
if [[ ! "$WEB_CONCURRENCY" =~ ^[1-9][0-9]{0,3}$ ]]; then
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null)
  each=$(php -r '$m = ini_get("memory_limit"); $n = (int) $m * (["g" => 1 << 30, "m" => 1 << 20, "k" => 1 << 10][strtolower(substr($m, -1))] ?? 1); echo $n > 0 ? $n : 134217728;')
  WEB_CONCURRENCY=10
  if [[ "$limit" =~ ^[0-9]{1,15}$ ]]; then WEB_CONCURRENCY=$((limit / each)); fi
  [ "$WEB_CONCURRENCY" -ge 2 ] || WEB_CONCURRENCY=2
  [ "$WEB_CONCURRENCY" -le 100 ] || WEB_CONCURRENCY=100
fi
spare=$((WEB_CONCURRENCY < 3 ? WEB_CONCURRENCY : 3))
sed "s/@PORT@/$PORT/" $here/nginx.conf > /tmp/nginx.conf || exit 1
sed "s/@WORKERS@/$WEB_CONCURRENCY/; s/@SPARE@/$spare/" $here/fpm.conf > /tmp/fpm.conf || exit 1
rm -f /tmp/php-fpm.sock
php-fpm8.4 --nodaemonize --fpm-config /tmp/fpm.conf & fpm=$!
# who is asked before PHP can answer would say 502
for _ in {1..200}; do if [ -S /tmp/php-fpm.sock ] || ! kill -0 $fpm 2>/dev/null; then break; fi; sleep 0.05; done
nginx -e stderr -c /tmp/nginx.conf & nginx=$!
# both finish what they have begun
trap 'kill -QUIT $nginx $fpm 2>/dev/null' TERM INT
wait -n $fpm $nginx
code=$?
kill -QUIT $fpm $nginx 2>/dev/null
wait
exit $code
`;

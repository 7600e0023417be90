<?php
header('Content-Type: text/plain');
echo 'Plain PHP ', PHP_MAJOR_VERSION, '.', PHP_MINOR_VERSION, ' at ', $_SERVER['REQUEST_URI'], ' secure:', $_SERVER['HTTPS'] ?? 'no', ' greeting:', getenv('GREETING'), ' gd:', extension_loaded('gd') ? 'yes' : 'no';

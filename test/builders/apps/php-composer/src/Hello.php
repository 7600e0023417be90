<?php
namespace App;

class Hello { public static function say(): string { return 'It costs ' . \Price\Money::of(12.5) . ' ' . file_get_contents(__DIR__ . '/../compiled.txt') . ' ' . file_get_contents(__DIR__ . '/../installed.txt') . ' ' . yaml_parse('a: yaml')['a']; } }

<?php
namespace Price;

class Money { public static function of(float $value): string { return (new \NumberFormatter('de_DE', \NumberFormatter::CURRENCY))->formatCurrency($value, 'EUR'); } }

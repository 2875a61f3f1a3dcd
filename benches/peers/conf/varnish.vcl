# Varnish as it comes; @…@ is filled in by examples/measure.
vcl 4.1;
backend default { .host = "@ORIGIN_HOST@"; .port = "@ORIGIN_PORT@"; .max_connections = 2000; }

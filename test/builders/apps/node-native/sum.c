#include <node_api.h>

static napi_value Sum(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2], result;
  double a, b;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  napi_get_value_double(env, argv[0], &a);
  napi_get_value_double(env, argv[1], &b);
  napi_create_double(env, a + b, &result);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value sum;
  napi_create_function(env, "sum", NAPI_AUTO_LENGTH, Sum, NULL, &sum);
  return sum;
}

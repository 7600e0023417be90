defmodule A do
  def project, do: [app: :a, deps: [{:jason, "~> 1.4"}]]
end

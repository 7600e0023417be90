defmodule Shop.MixProject do
  def project, do: [app: :shop, deps: deps(), aliases: aliases()]
  defp deps, do: [{:phoenix, "~> 1.8"}]
  defp aliases, do: ["assets.deploy": ["phx.digest"]]
end

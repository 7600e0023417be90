defmodule Hello do
  use Application

  def start(_type, _args) do
    port = String.to_integer(System.fetch_env!("PORT"))
    {:ok, listener} = :gen_tcp.listen(port, [:binary, packet: :http_bin, active: false, reuseaddr: true])
    Task.start_link(fn -> accept(listener) end)
  end

  defp accept(listener) do
    {:ok, socket} = :gen_tcp.accept(listener)
    skip(socket)
    :gen_tcp.send(socket, "HTTP/1.1 200 OK\r\ncontent-length: 17\r\nconnection: close\r\n\r\nHello from Elixir")
    :gen_tcp.close(socket)
    accept(listener)
  end

  defp skip(socket) do
    case :gen_tcp.recv(socket, 0) do
      {:ok, :http_eoh} -> :ok
      {:ok, _} -> skip(socket)
      _ -> :ok
    end
  end
end

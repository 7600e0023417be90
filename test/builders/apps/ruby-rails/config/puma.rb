port ENV["PORT"]

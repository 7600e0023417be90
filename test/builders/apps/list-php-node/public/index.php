<?php echo "php and ", shell_exec("node -p 6*7");
